"""Ctrl-C under a flood: whoever pressed it is sent nothing until the host has fallen silent. Pure.

What the host still sends until then was printed before the ^C as well; at the end all of it but the last lines is left
out, which is for the session to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from terminals.history import History
from terminals.viewer import Viewer

QUIET_S = 0.005
"""A host this long without output has said what it had to say..."""
QUIET_MOST_S = 0.25
"""... or, far away, as long as its answers take, up to this..."""
FLOOD_S = 1.0
"""A host that was held back so long ago may have a lot to send, whatever has arrived of it."""
HOLD_MOST_S = 0.5
"""... and one that ignores the interrupt is shown again after this."""


@dataclass(slots=True)
class _Hold:
    viewer: Viewer
    until: float
    last_output: float


class Interrupts:
    """One at a time. `tunnel_ms` is the round trip to the host; `over` is called with whoever pressed it."""

    def __init__(self, tunnel_ms: Callable[[], float | None], over: Callable[[Viewer], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tunnel_ms = tunnel_ms
        self._over = over
        self._hold: _Hold | None = None
        self._flooded_at = -float("inf")

    @property
    def is_under_way(self) -> bool:
        return self._hold is not None

    def flooded(self) -> None:
        """The host is held back: more waits there, also in the moment after it was let go again."""
        self._flooded_at = self._loop.time()

    def begin(self, viewer: Viewer, history: History) -> bool:
        """Hold its output back where output waits. Whether it is held back from now on."""
        now = self._loop.time()
        if self._hold is not None or not (viewer.is_behind(history) or now - self._flooded_at < FLOOD_S):
            return False
        self._hold = _Hold(viewer, now + HOLD_MOST_S, now)
        viewer.is_held = True
        self._loop.call_later(self._quiet_s, self._look)
        return True

    def heard(self) -> None:
        """The host has sent something."""
        if self._hold is not None:
            self._hold.last_output = self._loop.time()

    def give_up(self) -> None:
        """It is not waited for any more: who pressed it has gone, or has no keyboard."""
        if self._hold is not None:
            self._hold.until = 0.0

    @property
    def _quiet_s(self) -> float:
        return min(QUIET_MOST_S, max(QUIET_S, 1.5e-3 * (self._tunnel_ms() or 0)))

    def _look(self) -> None:
        """The end, unless the host still prints."""
        hold, now = self._hold, self._loop.time()
        if hold is None:
            return
        if now < hold.until and now - hold.last_output < self._quiet_s:
            self._loop.call_later(self._quiet_s, self._look)
            return
        self._hold, hold.viewer.is_held = None, False
        self._over(hold.viewer)
