"""One attached browser: what it was sent, what its terminal has parsed, and what may be in flight to it.

Knows no websocket: a door gives it a `Wire`, whose calls never wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from terminals.history import History
from terminals.protocol import BadMessage, Close, Role, control
from terminals.window import LEAST, Window

MAX_SLICE = 32 * 1024
"""Most output bytes in one binary message."""
TAIL = 2 * 1024
TAIL_LINES = 10
"""Most of output that an interrupt drops of which the end is shown, from the beginning of a line: the prompt is there,
and the gap before it is still on the screen."""
STALL_S = 60
"""A viewer that has something to read and acknowledges nothing for so long is dropped; it may come back."""


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
    person: str
    role: Role
    sent: int = 0
    """Output offset up to which bytes were handed to the wire."""
    acked: int = 0
    """Output offset up to which the browser's terminal has parsed."""
    is_held: bool = False
    """Nothing is sent for now: an interrupt waits for the host to fall silent."""
    closed: bool = field(default=False, init=False)
    window: Window = field(default_factory=Window, init=False)
    _progress_at: float = field(default_factory=time.monotonic, init=False)

    def tell(self, kind: str, /, **fields: Any) -> None:
        if not self.closed:
            self.wire.send_text(control(kind, **fields))

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

    def pump(self, history: History) -> None:
        """Send what window and wire allow. A viewer that fell behind the ring is skipped forward, with a gap."""
        if self.closed or self.is_held or not self.wire.writable:
            return  # the gap of a viewer that does not read is told once, when it reads again
        if self.sent < history.start:
            self._skip(*history.begin(), "slow")
            self._go_on_at(self.sent)
        end = min(history.head, self.acked + self.window.size)
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
