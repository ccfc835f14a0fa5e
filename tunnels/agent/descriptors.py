"""Bytes between a descriptor and the event loop, with back-pressure both ways: no timer, no thread, no extra hop.

Knows no SSH. The descriptors are non-blocking and belong to the Source or Sink that is given them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

CHUNK = 32 * 1024
"""Most that one event-loop tick takes from a program: bounds what a flood queues before a key can interrupt it."""
LAST_GASP = 256 * 1024
"""Most that is read after the program has gone. The kernel keeps less, so that its own output is complete; a background
program that floods the same terminal cannot keep the session open with more."""


class Source:
    """Hands on what can be read, as soon as it can be read. `on_end` is called once, after the last byte."""

    def __init__(self, descriptor: int, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._on_data = on_data
        self._on_end = on_end
        self._held = False
        self._last_gasp: int | None = None
        """Bytes that may still be read once the program has gone."""
        self._ended = False
        self._loop.add_reader(descriptor, self._readable)

    def hold(self) -> None:
        """The consumer is full: stop reading, so that the program blocks."""
        if not self._held and not self._ended:
            self._held = True
            self._loop.remove_reader(self._descriptor)

    def release(self) -> None:
        if self._held and not self._ended:
            self._held = False
            self._loop.add_reader(self._descriptor, self._readable)
            if self._last_gasp is not None:
                self._loop.call_soon(self._readable)

    def finish(self) -> None:
        """The program is gone: what it left is read, and then it is the end, whoever else holds the other side."""
        self._last_gasp = LAST_GASP
        if not self._held and not self._ended:
            self._loop.call_soon(self._readable)

    def close(self) -> None:
        """Drops what is unread; `on_end` is not called any more."""
        if not self._ended:
            self._ended = True
            self._loop.remove_reader(self._descriptor)

    def _readable(self) -> None:
        if self._held or self._ended:
            return
        chunk, over = read_available(self._descriptor)
        if chunk:
            self._on_data(chunk)
        self._after(len(chunk), over)

    def _after(self, size: int, over: bool) -> None:
        if self._ended:  # the consumer closed us
            return
        if self._last_gasp is not None:
            self._last_gasp -= size
            over = over or not size or self._last_gasp < 0
        if over:
            self.close()
            self._on_end()
        elif self._last_gasp is not None and not self._held:
            self._loop.call_soon(self._readable)


def read_available(descriptor: int) -> tuple[bytes, bool]:
    """Up to about CHUNK bytes that are there now, and whether it was the end. A pty gives 4 KiB at most at a time."""
    parts: list[bytes] = []
    size = 0
    while size < CHUNK:
        try:
            part = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return b"".join(parts), False
        except OSError:  # EIO: no process has the terminal open any more
            return b"".join(parts), True
        if not part:
            return b"".join(parts), True
        parts.append(part)
        size += len(part)
    return b"".join(parts), False


class Sink:
    """Writes at once what fits and keeps the rest. `on_drain` is called whenever a rest has gone."""

    def __init__(self, descriptor: int, on_drain: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._on_drain = on_drain
        self._rest = bytearray()
        self._on_finish: Callable[[], None] | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        return bool(self._rest)

    def write(self, data: bytes) -> None:
        """Dropped silently once nobody reads, as a terminal would."""
        if self._closed:
            return
        if not self._rest:
            data = data[self._try(data) :]
            if not data or self._closed:
                return
            self._loop.add_writer(self._descriptor, self._writable)
        self._rest += data

    def finish(self, on_finish: Callable[[], None]) -> None:
        """Calls `on_finish` as soon as everything is written."""
        if self._rest and not self._closed:
            self._on_finish = on_finish
        else:
            on_finish()

    def close(self) -> None:
        """Drops what is not written."""
        if not self._closed:
            self._closed = True
            self._loop.remove_writer(self._descriptor)
            self._rest.clear()

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def _writable(self) -> None:
        del self._rest[: self._try(self._rest)]
        if self._rest:
            return
        self._loop.remove_writer(self._descriptor)
        if self._on_finish:
            self._on_finish()
        self._on_drain()


def close_quietly(*descriptors: int) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)
