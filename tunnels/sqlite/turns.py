"""Turns: threads that want the same thing get it one after the other, in the order in which they came. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Turns:
    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Lock] = deque()
        """One of each that waits, in order: held until it is its turn."""
        self.is_taken = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextmanager
    def turn(self, within_s: float) -> Iterator[None]:
        """Inside it is this thread's turn, and nobody else's. TimeoutError where it did not come in time."""
        self._wait(within_s)
        try:
            yield
        finally:
            with self._lock:
                self._pass_on()

    def _wait(self, within_s: float) -> None:
        with self._lock:
            if not self.is_taken:
                self.is_taken = True
                return
            mine = Lock()
            mine.acquire()
            self._waiting.append(mine)
        has_come = False
        try:
            has_come = mine.acquire(timeout=within_s)
        finally:
            if not has_come:  # also at Ctrl-C
                self._leave(mine)
        if not has_come:
            raise TimeoutError

    def _leave(self, mine: Lock) -> None:
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
            else:
                self._pass_on()  # it came at this very moment

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self.is_taken = False
