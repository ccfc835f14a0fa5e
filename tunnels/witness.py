"""Writes the anchor of the audit log while the broker runs: soon after each commit, at most once in a second.

No act waits for it and none fails because of it. What could not be written is written the next time.
"""

from __future__ import annotations

import asyncio

import structlog
from channels.db import database_sync_to_async

from tunnels import audit
from tunnels.anchor import anchor_file, catch_up

PAUSE_S = 1.0
"""Between two looks; for as long the end of the log may be without its anchor."""

log = structlog.get_logger(__name__)


class Witness:
    """`async with Witness()`: follows the chain, whichever process writes it, and once more on leaving."""

    def __init__(self) -> None:
        self._hint = asyncio.Event()
        self._told: str | None = None

    async def __aenter__(self) -> Witness:
        loop = asyncio.get_running_loop()
        if not anchor_file().exists():
            log.warning("the audit log has no anchor yet, beginning one", path=str(anchor_file()))
        await self._look()
        self._unsubscribe = audit.subscribe(lambda: loop.call_soon_threadsafe(self._hint.set))
        self._task = loop.create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._unsubscribe()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._look()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PAUSE_S):
                    await self._hint.wait()
            except TimeoutError:
                pass
            self._hint.clear()
            await self._look()
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        """Anchor what is new. What is wrong is told once, for as long as it stays the same."""
        try:
            problem = await database_sync_to_async(catch_up)()
        except Exception as error:  # the root of the task: no anchor is no reason to stop
            problem = f"it cannot be written: {error}"
        if problem and problem != self._told:
            log.error("the anchor of the audit log", problem=problem, path=str(anchor_file()))
        self._told = problem
