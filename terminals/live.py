"""The live terminals of this node: started, limited, re-checked and ended here, each in a task that this owns."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from contextvars import Context
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async

from terminals import sessions
from terminals.call import Call
from terminals.end import End
from terminals.grants import limits_of
from terminals.kept import Kept
from terminals.limits import GrantLimits, Limits
from terminals.lines import Lines
from terminals.models import Session
from terminals.protocol import Close, Role
from terminals.recheck import Watched, judge, withheld
from terminals.session import TerminalSession
from terminals.shell import Program
from terminals.tickets import TicketBook
from tunnels.errors import Conflict, TooMany
from tunnels.registry import TunnelRegistry

_STOPPING = End("the broker is stopping", Close.DRAINING, retry_after_s=5)
MAX_OF_NODE = 2000
MAX_OF_PERSON = 100
TICK_S = 1.0

log = structlog.get_logger(__name__)


class LiveTerminals:
    """`async with` it: on leaving, every terminal is told that the node drains, and its end is written down."""

    def __init__(self, *, node: str, registry: TunnelRegistry, limits: Limits) -> None:
        self.node = node
        self.tickets = TicketBook()
        self._registry = registry
        self._limits = limits
        self.lines = Lines()
        self._kept = Kept()
        self._terminals: dict[UUID, TerminalSession] = {}
        self._watched: dict[UUID, Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def __aenter__(self) -> LiveTerminals:
        self._loop = asyncio.get_running_loop()
        self._ticker = self._loop.create_task(self._tick())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._draining = True
        self._ticker.cancel()
        for terminal in self._terminals.values():
            terminal.end(_STOPPING)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=8)

    def __len__(self) -> int:
        return len(self._terminals)

    def get(self, session_id: UUID) -> TerminalSession | None:
        return self._terminals.get(session_id)

    def find(self, session_id: UUID) -> TerminalSession | None:
        """A terminal to attach to: a live one, or one that has just ended, which then says its last words."""
        if terminal := self._terminals.get(session_id):
            return terminal
        ended = self._kept.get(session_id)
        return ended.terminal if ended else None

    def attached(self, terminal: TerminalSession) -> None:
        """A viewer has joined it."""
        if (ended := self._kept.get(terminal.id)) is not None:
            self._own(terminal.say_goodbye(ended.end))

    def is_online(self, host_id: UUID) -> bool:
        return self._registry.get(host_id) is not None

    # Called from request threads

    def check_room(self, person: str) -> None:
        """TooMany when the node or the person has as many terminals as allowed; Conflict while draining."""
        if self._draining:
            raise Conflict("the broker is stopping; try again in a moment")
        of_person = Counter(terminal.person for terminal in list(self._terminals.values()))[person]
        if len(self._terminals) >= MAX_OF_NODE or of_person >= MAX_OF_PERSON:
            raise TooMany("too many open terminals; close one", 10)

    def start(self, row: Session, *, cols: int, rows: int, web_login: str | None) -> str:
        """Start the terminal of a session just opened, and answer the driver's first ticket."""
        limits = limits_of(row.grant)
        work = self._start(row, limits, cols, rows, web_login)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def mint(self, *, session: UUID, person: str, role: Role) -> str:
        """Another ticket, for a browser that comes back. Conflict when the terminal is gone, and its last output."""
        return asyncio.run_coroutine_threadsafe(self._mint(session, person, role), self._loop).result(10)

    async def _mint(self, session: UUID, person: str, role: Role) -> str:
        if self.find(session) is None:
            raise Conflict("this terminal has ended")
        return self.tickets.mint(session=session, person=person, role=role)

    async def _start(self, row: Session, limits: GrantLimits, cols: int, rows: int, web_login: str | None) -> str:
        self.begin(row, Watched(row.id, web_login), limits, cols=cols, rows=rows)
        return self.tickets.mint(session=row.id, person=row.person.username, role=Role.DRIVER)

    # On the loop

    def begin(
        self,
        row: Session,
        watched: Watched,
        limits: GrantLimits,
        *,
        cols: int,
        rows: int,
        program: Program | None = None,
    ) -> TerminalSession:
        """The terminal of a session just opened, on its way to the host."""
        terminal = TerminalSession(
            row.id, row.person.username, cols, rows, self._limits.tightened(limits), program or Program()
        )
        self._terminals[row.id] = terminal
        self._watched[row.id] = watched
        self._own(self._life(row, terminal))
        if self._draining:
            terminal.end(_STOPPING)
        return terminal

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        # Not in the context of the request that opened the terminal: asgiref keeps that request's database thread in
        # it, which is gone when the terminal wants to write down its end.
        task = self._loop.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The life of each terminal

    async def _life(self, row: Session, terminal: TerminalSession) -> None:
        """The root of one terminal's task: whatever happens, its viewers are told and the row is closed."""
        call = Call(self._registry.get(row.host_id), row, row.host, self.lines)
        try:
            end = await terminal.run(call.dial, call.explain)
            end = await call.name_tunnel(end)
        except Exception:
            log.exception("terminal failed", session=str(row.id), host=row.host.name, person=terminal.person)
            end = End("the broker failed; the log says why")
        try:
            await self._write_end(row, terminal, end)
        except Exception:
            log.exception("end of terminal not written", session=str(row.id), reason=end.reason)
        del self._terminals[row.id], self._watched[row.id]
        await terminal.say_goodbye(end)
        self._kept.add(terminal, end)

    async def _write_end(self, row: Session, terminal: TerminalSession, end: End) -> None:
        if end.code is Close.HOST_KEY_MISMATCH:
            await database_sync_to_async(sessions.note_key_mismatch)(session_id=row.id)
        await database_sync_to_async(sessions.end_session)(
            session_id=row.id, reason=end.reason, bytes_in=terminal.input_offset, bytes_out=terminal.history.head
        )
        log.info("terminal ended", session=str(row.id), host=row.host.name, person=terminal.person, reason=end.reason)

    # Limits and rights

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._kept.drop_expired()
            for terminal in list(self._terminals.values()):
                terminal.tick(now)

    async def recheck(self) -> None:
        """End every terminal that may not go on, and set the limits of the rest. Runs at each change and regularly."""
        if ended := self._kept.sessions:
            for session_id in await database_sync_to_async(withheld)(ended):
                self._kept.drop(session_id)
        if not self._terminals:
            return
        standing = await database_sync_to_async(judge)(list(self._watched.values()))
        for session_id, end in standing.ends.items():
            if terminal := self._terminals.get(session_id):
                terminal.end(end)
        for session_id, limits in standing.limits.items():
            if terminal := self._terminals.get(session_id):
                terminal.limits = self._limits.tightened(limits)


_current: LiveTerminals | None = None


def install(terminals: LiveTerminals | None) -> None:
    """Make the node's terminals known to its request threads."""
    global _current
    _current = terminals


def current() -> LiveTerminals:
    """Those of this node. Conflict in a process that runs none, such as a management command."""
    if _current is None:
        raise Conflict("this process holds no terminals")
    return _current


def find(session_id: UUID) -> TerminalSession | None:
    """The live terminal, where this process holds it."""
    return _current.get(session_id) if _current else None
