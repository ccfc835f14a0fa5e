"""One attached browser or SSH client: whose it is, what it was sent and has parsed, what may be in flight to it.

Knows no websocket: a door gives it a `Wire`, whose calls never wait.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from terminals.history import History
from terminals.protocol import BadMessage, Close, Role, control
from terminals.seats import Seat
from terminals.window import LEAST, Window

MAX_SLICE = 32 * 1024
"""Most output bytes in one binary message."""
TAIL = 2 * 1024
TAIL_LINES = 10
"""Most of output that an interrupt drops of which the end is shown, from the beginning of a line: the prompt is there,
and the gap before it is still on the screen."""
STALL_S = 60
"""A viewer that has something to read and acknowledges nothing for so long is dropped; it may come back."""
MAX_LAG = 512 * 1024
"""A watcher further behind than this is skipped forward..."""
RECENT = 128 * 1024
"""... to about this far from the end..."""
SKIP_EVERY_S = 0.5
"""... and not again before this: under a flood it sees pieces that can be read."""


class Wire(Protocol):
    """The way out to one browser."""

    on_writable: Callable[[], object] | None
    """Called when `writable` turns true again."""

    @property
    def writable(self) -> bool:
        """False while the peer does not read: what is written would pile up in this process."""

    def send_bytes(self, data: bytes) -> None: ...

    def send_text(self, text: str) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


@dataclass(eq=False, slots=True)
class Viewer:
    wire: Wire
    seat: Seat
    role: Role
    """First what it asks for; `terminals.company` decides what it gets."""
    sent: int = 0
    """Output offset up to which bytes were handed to the wire."""
    acked: int = 0
    """Output offset up to which the browser's terminal has parsed."""
    is_held: bool = False
    """Nothing is sent for now: an interrupt waits for the host to fall silent."""
    wants: bool = field(default=False, init=False)
    """It asks for the keyboard."""
    has_driven: bool = field(default=False, init=False)
    """Input that was on its way when the keyboard was taken from it may still come in."""
    asked: Role = field(init=False)
    since: datetime = field(default_factory=lambda: datetime.now(UTC), init=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8), init=False)
    closed: bool = field(default=False, init=False)
    window: Window = field(default_factory=Window, init=False)
    _progress_at: float = field(default_factory=time.monotonic, init=False)
    _replay_to: int = field(default=0, init=False)
    """What was there before it came it may read in peace."""
    _skip_after: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.asked = self.role

    def facts(self) -> dict[str, Any]:
        """As everybody in the terminal sees it."""
        return {
            "id": self.id,
            "name": self.seat.name,
            "role": self.role,
            "may_drive": self.seat.may_drive,
            "wants": self.wants,
            "is_owner": self.seat.is_owner,
            "is_guest": self.seat.is_guest,
            "via": self.seat.via,
            "way": self.seat.way,
        }

    def tell(self, kind: str, /, **fields: Any) -> None:
        if not self.closed:
            self.wire.send_text(control(kind, **fields))

    def tell_company(self, facts: str) -> None:
        """Who is here, as the JSON object that all are sent alike, with its own id."""
        if not self.closed:
            self.wire.send_text(f'{{"type":"viewers","you":"{self.id}",{facts[1:]}')

    def start_at(self, history: History, wanted: int | None) -> str:
        """Set where output goes on: at `wanted` (None: the oldest byte kept). BadMessage beyond the head.

        Where that is not kept any more, output begins later; the answer then restores the modes there.
        """
        if wanted is not None and wanted > history.head:
            raise BadMessage(f"output_offset {wanted} is beyond the end of the output ({history.head})")
        at, restore = wanted or 0, ""
        if at < history.start:
            at, restore = history.begin()
        self._go_on_at(at)
        self._replay_to = history.head
        return restore

    def ack(self, offset: int) -> None:
        if offset > self.sent:
            raise BadMessage(f"ack {offset} is beyond what was sent ({self.sent})")
        if offset > self.acked:
            now = time.monotonic()
            self.acked, self._progress_at = offset, now
            self.window.acknowledged(offset, now)

    def is_behind(self, history: History) -> bool:
        """Whether the host floods it: it is held back, or was a moment ago, since that ends at half a window."""
        return history.head - self.acked > self.window.size // 2

    def is_stalled(self, now: float) -> bool:
        has_something_to_do = self.sent > self.acked or not self.wire.writable
        return has_something_to_do and now - self._progress_at >= STALL_S

    @property
    def can_take(self) -> bool:
        """Whether it would be sent output if there were some."""
        is_open = not self.closed and not self.is_held and self.wire.writable
        return is_open and self.sent < self.acked + self.window.size

    def keep_up(self, history: History, now: float) -> bool:
        """Of a watcher: skip it forward where it is too far behind, and not just skipped. Whether it was."""
        is_late = history.head - self.sent > MAX_LAG and self.sent >= self._replay_to
        if not (is_late or self.sent < history.start) or not self.can_take or now < self._skip_after:
            return False
        self._skip_after = now + SKIP_EVERY_S
        self._skip(*history.recent(RECENT), "slow")
        self._go_on_at(self.sent)
        return True

    def pump(self, history: History, most: int | None = None) -> None:
        """Send what window and wire allow. A driver that fell behind the ring is skipped forward, with a gap.

        A watcher is sent `most` bytes at a time, and waits for `keep_up` where it fell behind.
        """
        if self.closed or self.is_held or not self.wire.writable:
            return  # the gap of a viewer that does not read is told once, when it reads again
        if self.sent < history.start:
            if most is not None:
                return
            self._skip(*history.begin(), "slow")
            self._go_on_at(self.sent)
        end = min(history.head, self.acked + self.window.size)
        if most is not None:
            end = min(end, self.sent + most)
        if self.sent >= end:
            return
        now = time.monotonic()
        if self.sent == self.acked:
            self._progress_at = now
        while self.sent < end and self.wire.writable:
            data = history.read(self.sent, min(end, self.sent + MAX_SLICE))
            self.wire.send_bytes(data)
            self.sent += len(data)
        self.window.sent(self.sent, now, is_limited=end < history.head)

    def drop_stale(self, history: History) -> bool:
        """Leave out what was not sent yet, but for the last lines. Whether anything was left out."""
        start = max(history.start, self.sent, history.head - TAIL)
        to = start + _begin_of_last_lines(history.read(start, history.head))
        if to <= self.sent:
            return False
        self._skip(to, history.restore(), "interrupt")
        self.acked = max(self.acked, to + TAIL - LEAST)  # so that the last lines need not wait for what is in flight
        return True

    def close(self, code: Close, reason: str, *, retry_after_s: int | None = None) -> None:
        """Say why, and close. Idempotent."""
        self.tell("closing", reason=reason, retry_after=retry_after_s)
        if not self.closed:
            self.closed = True
            self.wire.close(code, reason)

    def _skip(self, to: int, restore: str, reason: str) -> None:
        self.tell("gap", **{"from": self.sent, "to": to, "reason": reason})
        self.tell("screen", sequence=restore)
        self.sent = to
        self.window.restart(to)

    def _go_on_at(self, offset: int) -> None:
        self.sent = self.acked = offset
        self.window.restart(offset)
        self._progress_at = time.monotonic()


def _begin_of_last_lines(data: bytes) -> int:
    """Where the last `TAIL_LINES` begin, else the first line that is whole; 0 where no line begins."""
    at = len(data)
    for _ in range(TAIL_LINES):
        if (before := data.rfind(b"\n", 0, at)) < 0:
            break
        at = before
    return at + 1 if at < len(data) else 0
