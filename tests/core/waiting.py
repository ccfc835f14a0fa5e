"""Wait for a condition, with one deadline that scales; or not at all, with a clock that stands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

SCALE = float(os.environ.get("TEST_SCALE", "1"))


async def until(probe: Callable[[], Any], what: str = "", seconds: float = 5) -> Any:
    """The first true answer of `probe`. AssertionError after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds * SCALE
    while not (answer := probe()):
        assert loop.time() < deadline, f"not within {seconds} s: {what or probe}"
        await asyncio.sleep(0.005)
    return answer


class Clock:
    """Monotonic seconds that go on when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now
