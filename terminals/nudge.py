"""Makes a full-screen program draw its whole screen anew, by a size that it has for a moment only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

NUDGE_S = 0.1
"""For so long a program has one line less: it notices, and draws its whole screen anew when it is given back."""


class Nudge:
    """`give` tells the program its size, with so many lines less."""

    def __init__(self, give: Callable[[int], object]) -> None:
        self._give = give
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """The line is to be given back."""
        return self._timer is not None

    def begin(self) -> None:
        if self._timer is None:
            self._give(1)
            self._timer = asyncio.get_running_loop().call_later(NUDGE_S, self.end)

    def end(self) -> None:
        """Tell the program its whole size, nudged or not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give(0)
