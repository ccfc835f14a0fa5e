"""The output of a terminal as far as it is kept: the newest bytes, and the modes that all of it has set. Pure."""

from __future__ import annotations

from terminals.modes import Modes
from terminals.ring import CAPACITY, Ring

CHECKPOINTS = 32
"""About as many places from which the kept output can be shown."""


class History:
    """Bytes `start` (inclusive) to `head` (exclusive) of a stream that only grows."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._ring = Ring(capacity)
        self._modes = Modes(max(1, capacity // CHECKPOINTS))

    @property
    def start(self) -> int:
        return self._ring.start

    @property
    def head(self) -> int:
        return self._ring.head

    @property
    def is_alternate(self) -> bool:
        """Whether a program has the alternate screen now, which a changed size makes it draw anew."""
        return self._modes.is_alternate

    def append(self, data: bytes) -> None:
        self._ring.append(data)
        self._modes.feed(data)
        self._modes.forget_before(self._ring.start)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`. ValueError when they are not all here."""
        return self._ring.read(start, end)

    def begin(self) -> tuple[int, str]:
        """Where the kept output can be shown from: an offset, and what restores the modes there (nothing at 0)."""
        return self._modes.checkpoint(self.start) if self.start else (0, "")

    def recent(self, most: int) -> tuple[int, str]:
        """As `begin`, for about the last `most` bytes."""
        return self._modes.checkpoint(max(self.start, self.head - most))

    def restore(self) -> str:
        """The control sequences that bring an emulator into the modes at the head."""
        return self._modes.restore()

    def shrink(self, capacity: int) -> None:
        """Keep no more than this from now on."""
        self._ring.shrink(capacity)
        self._modes.forget_before(self._ring.start)
