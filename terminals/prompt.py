"""One line of a person's answer, typed before the shell is there: a password or a code. Pure.

Never part of the output unless echoed, never stored: `Answer` is gone once it is read.
"""

from __future__ import annotations

import asyncio

MAX_ANSWER = 1024


class Answer:
    """Edits one line byte by byte as a terminal would in cooked mode."""

    def __init__(self, *, echo: bool) -> None:
        self.echo = echo
        self.done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._line = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take typed bytes. Answers what to show, and the bytes after the end of the line, which are not ours."""
        shown = bytearray()
        for index, byte in enumerate(data):
            if self.done.done():
                return bytes(shown), data[index:]
            shown += self._key(byte)
        return bytes(shown), b""

    def _key(self, byte: int) -> bytes:
        match byte:
            case 0x0D | 0x0A:
                self._finish(self._line.decode("utf-8", "replace"))
                return b"\r\n"
            case 0x03 | 0x04:
                self._finish(None)
                return b"^C\r\n"
            case 0x7F | 0x08:
                return self._erase()
            case 0x15:
                shown = b""
                while self._line:
                    shown += self._erase()
                return shown
        if byte < 0x20 or len(self._line) >= MAX_ANSWER:
            return b""
        self._line.append(byte)
        return bytes([byte]) if self.echo else b""

    def _erase(self) -> bytes:
        """Take the last character away, a UTF-8 one as a whole."""
        if not self._line:
            return b""
        while self._line and self._line[-1] & 0xC0 == 0x80:
            self._line.pop()
        if self._line:
            self._line.pop()
        return b"\b \b" if self.echo else b""

    def _finish(self, answer: str | None) -> None:
        self._line.clear()
        if not self.done.done():
            self.done.set_result(answer)
