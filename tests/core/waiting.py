"""Wait for a condition, with one deadline that scales; or not at all, with a clock that stands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

SCALE = float(os.environ.get("TEST_SCALE", "1"))
PATIENCE_S = 30 * SCALE
"""For what must happen: it costs nothing when all is well, and a busy machine takes its time."""


async def until(probe: Callable[[], Any], what: str = "", seconds: float = 30) -> Any:
    """The first true answer of `probe`. AssertionError after the deadline."""

    async def look() -> Any:
        return probe()

    return await eventually(look, what or str(probe), seconds)


async def eventually(look: Callable[[], Awaitable[Any]], what: str = "", seconds: float = 30) -> Any:
    """`until`, of what must be awaited, as the database must."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds * SCALE
    while not (answer := await look()):
        assert loop.time() < deadline, f"not within {seconds} s: {what or look}"
        await asyncio.sleep(0.005)
    return answer


class Clock:
    """Monotonic seconds that go on when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now
