"""A terminal that floods, and a person who watches it: its reader is a process of its own, so that it keeps up."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection

from bench.terminal import PROMPT, Side, Terminal

_fork = multiprocessing.get_context("fork")
SETTLE_S = 0.3
"""Until what buffers there are along the way are full."""


class Flood:
    def __init__(self, orders: Connection) -> None:
        self._orders = orders

    @contextmanager
    def of(self, command: str) -> Iterator[None]:
        """What `command` prints floods the terminal, while inside."""
        self._orders.send(command)
        time.sleep(SETTLE_S)
        yield
        self._orders.send(None)
        self._orders.recv()  # its prompt is back


@contextmanager
def flooding(side: Side) -> Iterator[Flood]:
    """A terminal of `side` for floods, while inside."""
    with closing(side.click()) as terminal:
        terminal.prepare()
        ours, theirs = _fork.Pipe()
        reader = _fork.Process(target=_watch, args=(terminal, theirs), daemon=True)
        reader.start()
        try:
            yield Flood(ours)
        finally:
            reader.terminate()
            reader.join(10)


def _watch(terminal: Terminal, orders: Connection) -> None:
    """The child: the terminal is its own from here on, but for its end."""
    while True:
        terminal.write(f"{orders.recv()}\n".encode())
        while not orders.poll():
            terminal.read()
        orders.recv()
        terminal.interrupt()
        terminal.until(PROMPT)
        terminal.settle()
        orders.send(None)
