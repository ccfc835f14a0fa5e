"""Has recordings indexed, one after the other: after their end, at start what has no index, and when somebody asks."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.conf import settings

from terminals.models import Recording
from terminals.recording.store import root
from terminals.replay.build import write_problem
from terminals.replay.files import cast_of, facts_of, index_of

LONGEST_S = 3600
"""A worker that takes longer is ended. It gives up by itself long before (see `build`)."""
ERROR_TEXT = 500
PLAYABLE = (Recording.State.SEALED, Recording.State.FAILED)

log = structlog.get_logger(__name__)
_current: Indexer | None = None


def enqueue(session_id: UUID) -> None:
    """Have its recording indexed soon. From any thread; nothing happens in a process that is not the broker: the
    broker finds it at its next start, or when somebody wants to see it."""
    if _current is not None:
        _current.enqueue(session_id)


def unindexed() -> list[UUID]:
    """Recordings that are over, still there, and have no index that can be read. Looks at each file."""
    rows = Recording.objects.filter(state__in=PLAYABLE).select_related("session").order_by("sealed_at")
    return [row.session_id for row in rows.iterator(1000) if facts_of(row) is None and cast_of(row).exists()]


class Indexer:
    """`async with` it. On leaving, what is being indexed is given up; the next start does it again."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, None] = {}
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Indexer:
        global _current
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())
        _current = self
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        global _current
        _current = None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def enqueue(self, session_id: UUID) -> None:
        self._loop.call_soon_threadsafe(self._add, session_id)

    def _add(self, session_id: UUID) -> None:
        self._waiting[session_id] = None
        self._wake.set()

    async def _run(self) -> None:
        for session_id in await self._left_over():
            self._add(session_id)
        while True:
            await self._wake.wait()
            session_id = next(iter(self._waiting))
            del self._waiting[session_id]  # who asks from now on is heard
            if not self._waiting:
                self._wake.clear()
            try:
                await self._index(session_id)
            except Exception:
                # The root of this task: others are to be indexed all the same.
                log.exception("recording not indexed", session=str(session_id))

    async def _left_over(self) -> list[UUID]:
        try:
            found: list[UUID] = await database_sync_to_async(unindexed)()
        except Exception:
            # As above. What has no index is found when somebody wants to see it.
            log.exception("recordings without an index not looked for")
            return []
        return found

    async def _index(self, session_id: UUID) -> None:
        recording = await database_sync_to_async(_playable)(session_id)
        if recording is None or await asyncio.to_thread(facts_of, recording) is not None:
            return
        cast = cast_of(recording)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "terminals.replay.worker", str(cast), str(root()), str(session_id)),
            cwd=settings.BASE_DIR,
            env={"PYTHONPATH": str(settings.BASE_DIR)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LONGEST_S):
                _, errors = await process.communicate()
        except TimeoutError:
            errors = b"it took too long"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            log.error("indexing failed", session=str(session_id), error=errors.decode("utf-8", "replace")[-ERROR_TEXT:])
            if not index_of(recording).exists() and cast.exists():
                # Not tried again at each start and each look.
                await asyncio.to_thread(write_problem, cast, "it could not be prepared for playing; the log says why")


def _playable(session_id: UUID) -> Recording | None:
    return Recording.objects.filter(pk=session_id, state__in=PLAYABLE).select_related("session").first()
