"""How fast those who only watch are sent output: after the driver, at a bounded pace, skipped forward when far behind.

However many they are, they cost the driver no more than `BUDGET` bytes of sending at a time. Pure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from terminals.history import History
from terminals.viewer import Viewer

PACE_S = 0.02
"""An echo goes to the watchers at once, and what follows it within this time together."""
BUDGET = 256 * 1024
"""Bytes for all watchers of a terminal within `PACE_S`."""
REDRAW_EVERY_S = 2.0
"""The driver sees a program draw its screen anew as well."""


class Audience:
    """`scene` is who watches what.

    `redraw` is called when somebody was skipped forward: a full-screen program should draw its screen anew.
    """

    def __init__(self, scene: Callable[[], tuple[list[Viewer], History]], redraw: Callable[[], object]) -> None:
        self._scene = scene
        self._redraw = redraw
        self._timer: asyncio.TimerHandle | None = None
        self._redraw_timer: asyncio.TimerHandle | None = None
        self._redrawn_at = 0.0

    def flush(self) -> None:
        """Send the watchers what is due now; the rest follows by itself."""
        watchers, history = self._scene()
        if self._timer is None and watchers:
            self._send(watchers, history)

    def _send(self, watchers: list[Viewer], history: History) -> None:
        now, most = time.monotonic(), BUDGET // len(watchers)
        skipped = [viewer for viewer in watchers if viewer.keep_up(history, now)]
        before = [viewer.sent for viewer in watchers]
        for viewer in watchers:
            viewer.pump(history, most)
        if before != [viewer.sent for viewer in watchers] or _any_may_go_on(watchers, history):
            self._timer = asyncio.get_running_loop().call_later(PACE_S, self._due)
        if skipped and self._redraw_timer is None:
            wait_s = max(0.0, self._redrawn_at + REDRAW_EVERY_S - now)
            self._redraw_timer = asyncio.get_running_loop().call_later(wait_s, self._draw_anew)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def _draw_anew(self) -> None:
        self._redraw_timer, self._redrawn_at = None, time.monotonic()
        self._redraw()


def _any_may_go_on(watchers: Iterable[Viewer], history: History) -> bool:
    return any(viewer.can_take and viewer.sent < history.head for viewer in watchers)
