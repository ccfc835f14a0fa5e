"""One attached browser: what it was sent, what its terminal has parsed, and what may be in flight to it.

Knows no websocket: a door gives it a `Wire`, whose calls never wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from terminals.protocol import WINDOW, BadMessage, Close, Role, control
from terminals.ring import Ring

MAX_SLICE = 32 * 1024
"""Most output bytes in one binary message."""


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
    closed: bool = field(default=False, init=False)

    def tell(self, kind: str, **fields: Any) -> None:
        if not self.closed:
            self.wire.send_text(control(kind, **fields))

    def start_at(self, ring: Ring, wanted: int | None) -> None:
        """Set where output goes on: at `wanted`, or from the oldest byte kept. BadMessage beyond the head."""
        if wanted is not None and wanted > ring.head:
            raise BadMessage(f"output_offset {wanted} is beyond the end of the output ({ring.head})")
        self.sent = self.acked = max(ring.start, wanted if wanted is not None else 0)

    def ack(self, offset: int) -> None:
        if offset > self.sent:
            raise BadMessage(f"ack {offset} is beyond what was sent ({self.sent})")
        self.acked = max(self.acked, offset)

    def pump(self, ring: Ring) -> None:
        """Send what window and wire allow. A viewer that fell behind the ring is skipped forward, with a gap."""
        if self.closed or not self.wire.writable:
            return  # the gap of a viewer that does not read is told once, when it reads again
        if self.sent < ring.start:
            self.tell("gap", **{"from": self.sent, "to": ring.start, "reason": "slow"})
            self.sent = self.acked = ring.start
        end = min(ring.head, self.acked + WINDOW)
        while self.sent < end and self.wire.writable:
            data = ring.read(self.sent, min(end, self.sent + MAX_SLICE))
            self.wire.send_bytes(data)
            self.sent += len(data)

    def close(self, code: Close, reason: str, *, retry_after_s: int | None = None) -> None:
        """Say why, and close. Idempotent."""
        self.tell("closing", reason=reason, retry_after=retry_after_s)
        if not self.closed:
            self.closed = True
            self.wire.close(code, reason)
