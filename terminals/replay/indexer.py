"""Has recordings indexed, one after the other: after their end, at start what has no index, and when somebody asks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import structlog
from channels.db import database_sync_to_async

from terminals.models import Recording
from terminals.replay.build import write_problem
from terminals.replay.files import cast_of, facts_of
from terminals.replay.workshop import Lost, Workshop

IDLE_S = 30
"""A worker with nothing to do is ended after this."""
PLAYABLE = (Recording.State.SEALED, Recording.State.FAILED)

log = structlog.get_logger(__name__)
_current: Indexer | None = None


def enqueue(session_id: UUID, *, first: bool = False) -> None:
    """Have its recording indexed soon; `first`: before those that nobody waits for. From any thread; nothing happens
    in a process that is not the broker: the broker finds it at its next start, or when somebody wants to see it."""
    if _current is not None:
        _current.enqueue(session_id, first=first)


def unindexed() -> list[UUID]:
    """Recordings that are over, still there, and have no index that can be read. Looks at each file."""
    rows = Recording.objects.filter(state__in=PLAYABLE).select_related("session").order_by("sealed_at")
    return [row.session_id for row in rows.iterator(1000) if _cast_without_index(row)]


def cast_to_index(session_id: UUID) -> Path | None:
    """The file of one of these."""
    row = Recording.objects.filter(pk=session_id, state__in=PLAYABLE).select_related("session").first()
    return _cast_without_index(row) if row is not None else None


def _cast_without_index(recording: Recording) -> Path | None:
    cast = cast_of(recording)
    return cast if facts_of(recording) is None and cast.exists() else None


class Indexer:
    """`async with` it. On leaving, what is being indexed is given up; the next start does it again."""

    def __init__(self) -> None:
        self._asked: dict[UUID, None] = {}
        self._waiting: dict[UUID, None] = {}
        self._wake = asyncio.Event()
        self._lost: set[UUID] = set()
        """Those that a worker was lost with."""

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

    def enqueue(self, session_id: UUID, *, first: bool = False) -> None:
        self._loop.call_soon_threadsafe(self._add, session_id, first)

    def _add(self, session_id: UUID, first: bool = False) -> None:
        (self._asked if first else self._waiting)[session_id] = None
        self._wake.set()

    def _take(self) -> UUID:
        """The next one. Who asks for it from now on is heard."""
        session_id = next(iter(self._asked or self._waiting))
        for queue in (self._asked, self._waiting):
            queue.pop(session_id, None)
        if not (self._asked or self._waiting):
            self._wake.clear()
        return session_id

    async def _run(self) -> None:
        for session_id in await self._left_over():
            self._add(session_id)
        async with Workshop() as workshop:
            while True:
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    await workshop.close()
                    await self._wake.wait()
                session_id = self._take()
                try:
                    await self._index(workshop, session_id)
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

    async def _index(self, workshop: Workshop, session_id: UUID) -> None:
        cast: Path | None = await database_sync_to_async(cast_to_index)(session_id)
        if cast is None:
            return
        try:
            await workshop.index(cast, session_id)
        except Lost as error:
            log.error("indexing failed", session=str(session_id), error=str(error), again=session_id not in self._lost)
            if session_id not in self._lost:  # somebody may have ended the worker
                self._lost.add(session_id)
                self._add(session_id)
                return
            # Not tried again at each start and each look.
            await asyncio.to_thread(write_problem, cast, "it could not be prepared for playing; the log says why")
        self._lost.discard(session_id)
