"""The newest output bytes of a terminal, by absolute offset. Pure: no I/O, no asyncio."""

from __future__ import annotations

from collections import deque
from itertools import islice

CAPACITY = 2 * 1024 * 1024
SMALL = 4096


class Ring:
    """Bytes `start` (inclusive) to `head` (exclusive) of a stream that only grows. Keeps whole chunks: no copying."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.start = 0
        self.head = 0
        self._chunks: deque[bytes] = deque()

    def append(self, data: bytes) -> None:
        """Add to the head; the oldest bytes go once more than `capacity` are kept."""
        if len(data) > self.capacity:
            self.head += len(data) - self.capacity
            self.start = self.head
            self._chunks.clear()
            data = data[-self.capacity :]
        if self._chunks and len(self._chunks[-1]) + len(data) <= SMALL:
            self._chunks[-1] += data  # else each echoed key would cost an object of its own
        else:
            self._chunks.append(data)
        self.head += len(data)
        while self.head - self.start > self.capacity:
            self._drop(self.head - self.start - self.capacity)

    def shrink(self, capacity: int) -> None:
        """Keep no more than this from now on."""
        self.capacity = capacity
        while self.head - self.start > capacity:
            self._drop(self.head - self.start - capacity)

    def _drop(self, count: int) -> None:
        first = self._chunks[0]
        if len(first) <= count:
            self._chunks.popleft()
            self.start += len(first)
        else:
            self._chunks[0] = first[count:]
            self.start += count

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`. ValueError when they are not all here."""
        if not self.start <= start <= end <= self.head:
            raise ValueError(f"bytes {start} to {end} are not in {self.start} to {self.head}")
        if start == end:
            return b""
        # Readers are almost always near the head, so the chunk is looked for from there.
        index, offset = len(self._chunks), self.head
        while offset > start:
            index -= 1
            offset -= len(self._chunks[index])
        parts: list[bytes] = []
        for chunk in islice(self._chunks, index, None):
            if offset >= end:
                break
            parts.append(chunk[max(0, start - offset) : end - offset])
            offset += len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)
