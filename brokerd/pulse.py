"""Whether the event loop is on time: for the metrics, and for systemd's watchdog, which ends a broker that hangs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

from brokerd.notify import notify
from tunnels import metrics

EVERY_S = 0.5


class Pulse:
    """`async with Pulse()`: beats on the loop while inside."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._watchdog_s = _watchdog_s(environ)

    async def __aenter__(self) -> Pulse:
        self._task = asyncio.get_running_loop().create_task(self._beat())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        told = float("-inf")
        while True:
            due = time.monotonic() + EVERY_S
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            metrics.loop_lag.observe(max(0.0, now - due))
            if self._watchdog_s and now - told >= self._watchdog_s / 3:
                told = now
                notify("WATCHDOG=1")


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """Within which systemd wants to hear of this process (sd_watchdog_enabled(3)); 0 where it does not."""
    meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    usec = environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if meant and usec.isdigit() else 0.0
