"""Tells the node that something was committed, by whichever process: hints within this one, a poll for the others.

The audit log is the feed, since every act writes to it. Listeners also run every few seconds without any change, for
what changes by the clock alone. They look at the database for themselves: a hint carries no facts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from channels.db import database_sync_to_async

from tunnels import audit, database

POLL_S = 1.0
REGULAR_S = 4.0
"""Also without a change, so that a clock boundary is met within 5 s."""

log = structlog.get_logger(__name__)
Listener = Callable[[], Awaitable[None]]


class ChangeFeed:
    """`async with ChangeFeed(listener, ...)`: runs the listeners in order, one round at a time, until left."""

    def __init__(self, *listeners: Listener, marker: Callable[[], object] = audit.newest_sequence) -> None:
        """`marker` is another one whenever a process has committed something; it asks the database."""
        self._listeners = listeners
        self._marker = marker
        self._hint = asyncio.Event()
        self._seen: object = None

    async def __aenter__(self) -> ChangeFeed:
        loop = asyncio.get_running_loop()
        await self._tell()
        self._unsubscribe = audit.subscribe(lambda: loop.call_soon_threadsafe(self._hint.set))
        self._task = loop.create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._unsubscribe()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        told = time.monotonic()
        while True:
            try:
                changed = await self._wait_for_change()
                if changed or time.monotonic() - told >= REGULAR_S:
                    told = time.monotonic()
                    await self._tell()
                    # A round costs more the more terminals there are: at most half of the time goes into rounds.
                    await asyncio.sleep(min(time.monotonic() - told, POLL_S))
            except Exception:
                # The root of this task. Without it a database that is away for a moment would stop all re-checks.
                if not database.problem():  # which is in the log already
                    log.exception("change feed failed, trying again")
                self._seen = None
                await asyncio.sleep(POLL_S)

    async def _wait_for_change(self) -> bool:
        try:
            async with asyncio.timeout(POLL_S):
                await self._hint.wait()
        except TimeoutError:
            pass
        self._hint.clear()
        marker = await database_sync_to_async(self._marker)()
        changed, self._seen = bool(marker != self._seen), marker
        return changed

    async def _tell(self) -> None:
        """Every listener has its turn, whatever becomes of the others; then their errors are raised."""
        errors: list[Exception] = []
        for listener in self._listeners:
            try:
                await listener()
            except Exception as error:  # one that fails must not keep the rest from ending what may not go on
                errors.append(error)
        if errors:
            raise ExceptionGroup("listeners failed", errors)
