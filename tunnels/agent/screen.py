"""The terminal in front of the machine's user: made raw, read, written, and always put back as it was."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

IN, OUT = 0, 1


def is_terminal() -> bool:
    return os.isatty(IN) and os.isatty(OUT)


def size() -> tuple[int, int, int, int]:
    """Columns, rows, and pixels, which are unknown."""
    found = os.get_terminal_size(OUT)
    return found.columns, found.lines, 0, 0


def write(data: bytes) -> None:
    """All of it. Blocks while the terminal does not take it, as for any program that runs in it."""
    with suppress(OSError):  # it is gone: its hang-up ends us
        while data:
            data = data[os.write(OUT, data) :]


def notice(text: str) -> None:
    """A line of our own, between those of the programs."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    write(f"\r\n\x1b[7m[brokerd-agent: {clean}]\x1b[0m\r\n".encode())


@contextmanager
def raw() -> Iterator[None]:
    before = termios.tcgetattr(IN)
    tty.setraw(IN)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(IN, termios.TCSADRAIN, before)


def guarded(run: Callable[[], int]) -> int:
    """`run()` in a process of its own: however it ends, SIGKILL included, the terminal is put back. Its exit status."""
    before = termios.tcgetattr(IN)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = run()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, pass_on)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        with suppress(termios.error):
            termios.tcsetattr(IN, termios.TCSADRAIN, before)
    if os.WIFSIGNALED(status):
        write(f"\r\nbrokerd-agent: the share was ended by signal {os.WTERMSIG(status)}\r\n".encode())
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)
