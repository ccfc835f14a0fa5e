"""A shell on the distant machine, however it is reached: what every measure drives, with one way of reading."""

from __future__ import annotations

import select
import time
from abc import ABC, abstractmethod
from typing import Protocol

PROMPT = b"bench> "
PATIENCE_S = 60
KEPT = 4096
"""Bytes of the newest output in which a marker is looked for."""


class TerminalEnded(Exception):
    """The other end is gone, or says nothing for a minute."""


class Terminal(ABC):
    """Reads block; at most PATIENCE_S."""

    def __init__(self, fd: int) -> None:
        self._listen(fd)

    def _listen(self, fd: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Input, as typed."""

    @abstractmethod
    def take(self, limit: int = 65536) -> bytes:
        """What has arrived on `fd`, about `limit` at most; maybe nothing for the screen. Blocks where nothing has."""

    @abstractmethod
    def close(self) -> None:
        """End the shell, and all that was started for it."""

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.write(b"\x03")

    def settle(self) -> None:  # noqa: B027 - stock ssh has nothing to say here
        """All output was shown, and nothing more is expected."""

    def wait(self) -> None:
        if not self.has_something():
            raise TerminalEnded(f"no output for {PATIENCE_S} s")

    def has_something(self, timeout_s: float = PATIENCE_S) -> bool:
        return bool(self._poll.poll(timeout_s * 1000))

    def read(self, limit: int = 65536) -> bytes:
        """The next output bytes, at least one. What was read before counts as shown."""
        while True:
            self.wait()
            if data := self.take(limit):
                return data

    def until(self, marker: bytes, seen: bytes = b"") -> bytes:
        """Read up to `marker`, unless it stands in `seen`; the newest output."""
        while marker not in seen:
            seen = seen[-KEPT:] + self.read()
        return seen

    def prepare(self) -> None:
        """A plain prompt, and no line editor that answers keys with escape sequences."""
        # In two parts, so that the echo of this line is not taken for the prompt.
        self.write(b"PS1='bench''> '; bind 'set enable-bracketed-paste off' 2>/dev/null\n")
        self.until(PROMPT)
        time.sleep(0.05)
        self.settle()

    def run(self, command: str) -> None:
        """Start a command in a raw terminal, which gives nothing back of what is typed from here on."""
        # READY comes after `stty`, however long the machine takes for that: an echo would stand in what is measured.
        self.write(f"stty raw -echo && printf REA''DY; {command}\n".encode())
        self.until(b"READY")
        self.settle()


class Side(Protocol):
    """One way to reach the distant machine."""

    name: str
    port: int
    """Where its people dial in, on loopback."""

    def click(self) -> Terminal:
        """A terminal that was asked for; its prompt may still be on its way."""

    def through(self, port: int) -> Side:
        """The same, for people who dial another port in front of it."""
