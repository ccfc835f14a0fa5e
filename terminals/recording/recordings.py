"""The recordings of this node's live terminals, the threads that write them, and the end of those kept long enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.utils import timezone

from terminals.end import End
from terminals.models import Session
from terminals.protocol import Close
from terminals.recording import acts
from terminals.recording.castfile import CastFile
from terminals.recording.format import header
from terminals.recording.policy import Policy
from terminals.recording.recorder import Recorder
from terminals.recording.store import path_of
from terminals.recording.writers import Writers
from terminals.session import TerminalSession
from tunnels import spool

PRUNE_EVERY_S = 6 * 3600
TOLD_EVERY_S = 30
"""A slow disk is told of so often at most."""

log = structlog.get_logger(__name__)
Own = Callable[[Coroutine[Any, Any, None]], object]
"""Takes over a task."""


class Recordings:
    """`async with` it, around the terminals that are recorded. `retention_s` 0: they are kept for ever."""

    def __init__(self, policy: Policy, retention_s: int) -> None:
        self._policy = policy
        self._retention_s = retention_s
        self._writers = Writers()

    async def __aenter__(self) -> Recordings:
        self._writers.__enter__()
        self._pruner = asyncio.get_running_loop().create_task(self._prune())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._pruner.cancel()
        await asyncio.gather(self._pruner, return_exceptions=True)
        self._writers.__exit__()

    def begin(self, row: Session, terminal: TerminalSession, own: Own) -> Recorder | None:
        """The terminal's recorder, which takes what happens from now on. None where nothing is recorded."""
        if self._policy is Policy.OFF:
            return None
        first = header(
            cols=terminal.cols,
            rows=terminal.rows,
            timestamp=int(time.time()),
            title=f"{row.login}@{row.host.name}",
            term=terminal.program.term,
        )
        is_required = self._policy is Policy.REQUIRED
        terminal.recorder = recorder = Recorder(
            CastFile(path_of(row.pk, row.started_at), first),
            self._writers,
            _Fate(terminal, own, is_required=is_required),
            cols=terminal.cols,
            rows=terminal.rows,
            resumes=not is_required,
        )
        return recorder

    async def _prune(self) -> None:
        while self._retention_s:
            try:
                before = timezone.now() - timedelta(seconds=self._retention_s)
                if count := await database_sync_to_async(acts.prune)(before=before):
                    log.info("recordings pruned", count=count)
            except Exception:
                # The root of this task: a folder that cannot be written now may be tomorrow.
                log.exception("recordings not pruned, trying again")
            await asyncio.sleep(PRUNE_EVERY_S)


def unrecorded(problem: str) -> End:
    """The end of a terminal that must be recorded and cannot be."""
    return End(f"this terminal could not be recorded: {problem}", Close.RECORDING_FAILED)


class _Fate:
    """What a terminal makes of how its recording goes. Satisfies `recorder.Listener`."""

    def __init__(self, terminal: TerminalSession, own: Own, *, is_required: bool) -> None:
        self._terminal = terminal
        self._own = own
        self._is_required = is_required
        self._told = -float(TOLD_EVERY_S)

    def caught_up(self) -> None:
        self._terminal.flush()

    def slow(self) -> None:
        if (now := time.monotonic()) - self._told >= TOLD_EVERY_S:
            self._told = now
            self._terminal.say("the recording is slow; this terminal waits")

    def failed(self, problem: str) -> None:
        self._own(_note_failure(self._terminal.id, problem))
        if self._is_required:
            self._terminal.end(unrecorded(problem))
        else:
            self._terminal.say(f"this terminal is not recorded now: {problem}")
            self._terminal.flush()

    def resumed(self, gap: str) -> None:
        self._terminal.say(f"this terminal is recorded again; {gap}")


async def _note_failure(session_id: UUID, problem: str) -> None:
    try:
        await spool.keep(acts.note_failure, session_id=session_id, problem=problem)
    except Exception:
        # The root of this task. The end of the terminal says it again.
        log.exception("failed recording not on record", session=str(session_id), problem=problem)
