"""What people have open over SSH beside terminals, held by this node: ways to hosts, commands, file transfers.

Each is decided at its opening by an act, decided again at each change, and written down at its end, whatever ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import structlog
from channels.db import database_sync_to_async

from terminals.limits import Clocks, GrantLimits, Limits
from terminals.models import Session
from terminals.recheck import Standing, Watched, judge
from terminals.sessions import end_session
from tunnels import spool
from tunnels.errors import TooMany
from tunnels.registry import LiveTunnel, TunnelRegistry

TICK_S = 1.0
MAX_OF_NODE = 4000
MAX_OF_PERSON = 200

log = structlog.get_logger(__name__)


class Open(Protocol):
    """Something with an end."""

    closed: asyncio.Future[str]
    """Done when it is over, with the reason."""

    @property
    def bytes_in(self) -> int: ...

    @property
    def bytes_out(self) -> int: ...

    def close(self, reason: str) -> None:
        """End it. The first reason counts."""


@dataclass(eq=False, slots=True)
class _Entry:
    watched: Watched
    person: str
    limits: Limits
    thing: Open
    opened: float = field(default_factory=time.monotonic)


class Held:
    """`async with` it: on leaving, each is closed and written down."""

    def __init__(self, *, node: str, registry: TunnelRegistry, limits: Limits) -> None:
        self.node = node
        self._registry = registry
        self._limits = limits
        self._entries: dict[UUID, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    async def __aenter__(self) -> Held:
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._ticker.cancel()
        for entry in list(self._entries.values()):
            entry.thing.close("the broker is stopping")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def tunnel(self, host_id: UUID) -> LiveTunnel | None:
        return self._registry.get(host_id)

    def is_online(self, host_id: UUID) -> bool:
        return self._registry.get(host_id) is not None

    def check_room(self, person: str) -> None:
        """TooMany when the node or the person has as much open as allowed."""
        of_person = sum(entry.person == person for entry in list(self._entries.values()))
        if len(self._entries) >= MAX_OF_NODE or of_person >= MAX_OF_PERSON:
            raise TooMany("too much is open over SSH; close something", 10)

    def find(self, session: UUID) -> Open | None:
        """What is open under this session. For any thread."""
        entry = self._entries.get(session)
        return entry.thing if entry else None

    def hold(self, row: Session, watched: Watched, limits: GrantLimits, thing: Open) -> None:
        """From the act that opened it to its written end."""
        entry = _Entry(watched, row.person.username, self._limits.tightened(limits), thing)
        self._entries[row.pk] = entry
        self._own(self._life(entry))
        self._own(self._look_again(watched))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _life(self, entry: _Entry) -> None:
        """The root of its task: whatever ends it, its row is closed."""
        session = entry.watched.session
        try:
            reason = await entry.thing.closed
            await spool.keep(
                end_session,
                session_id=session,
                reason=reason,
                bytes_in=entry.thing.bytes_in,
                bytes_out=entry.thing.bytes_out,
            )
        except Exception:
            log.exception("end of session not written", session=str(session), person=entry.person)
        finally:
            entry.thing.close("the broker failed")
            del self._entries[session]

    async def recheck(self) -> None:
        """Close those that may not go on. Runs at each change and regularly."""
        if not self._entries:
            return
        self._enforce(await database_sync_to_async(judge)([entry.watched for entry in self._entries.values()]))

    async def _look_again(self, watched: Watched) -> None:
        """A change between the decision to open it and now found no such thing: decide once more, for this one."""
        try:
            self._enforce(await database_sync_to_async(judge)([watched]))
        except Exception:
            log.exception("new session not looked at again", session=str(watched.session))  # the next round will

    def _enforce(self, standing: Standing) -> None:
        for session, end in standing.ends.items():
            if entry := self._entries.get(session):
                entry.thing.close(end.reason)
        for session, limits in standing.limits.items():
            if entry := self._entries.get(session):
                entry.limits = self._limits.tightened(limits)

    async def _tick(self) -> None:
        """Only the longest time is a limit here: a transfer or a tunnel has no keys to wait for."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for entry in list(self._entries.values()):
                if end := entry.limits.exceeded(Clocks(entry.opened, now, None), now):
                    entry.thing.close(end.reason)


_current: Held | None = None


def install(held: Held | None) -> None:
    """Make what the node holds known to its request threads."""
    global _current
    _current = held


def find(session: UUID) -> Open | None:
    """What is open under this session, where this process holds it."""
    return _current.find(session) if _current else None
