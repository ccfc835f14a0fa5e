"""One deadline for everything that tests wait for. TEST_PATIENCE scales it for slow machines."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0 * float(os.environ.get("TEST_PATIENCE", "1"))


async def until(condition: Callable[[], T], what: str | Callable[[], str]) -> T:
    """The first true value of `condition()`."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what() if callable(what) else what}"
        await asyncio.sleep(0.01)
    return value


def patient() -> asyncio.Timeout:
    return asyncio.timeout(PATIENCE_S)
