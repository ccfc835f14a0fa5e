"""The live terminals of this node: started, limited, re-checked and ended here, each in a task that this owns."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncssh
import structlog
from channels.db import database_sync_to_async

from terminals import sessions
from terminals.end import End
from terminals.models import Session
from terminals.protocol import Close, Role
from terminals.recheck import Watched, failing
from terminals.session import TerminalSession
from terminals.tickets import TicketBook
from tunnels import reach
from tunnels.errors import Conflict, TooMany
from tunnels.models import Host
from tunnels.registry import LiveTunnel, TunnelRegistry

_STOPPING = End("the broker is stopping", Close.DRAINING, retry_after_s=5)
MAX_OF_NODE = 2000
MAX_OF_PERSON = 100
TICK_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds; 0 means none, but for `grace`."""

    grace_s: int
    idle_s: int
    longest_s: int

    def exceeded(self, terminal: TerminalSession, now: float) -> End | None:
        """The limit that this terminal has reached, as its end."""
        waited = now - terminal.unattended_since if terminal.unattended_since is not None else 0
        if terminal.unattended_since is not None and waited >= self.grace_s:
            return End(f"nobody came back within {self.grace_s} s", Close.LIMIT)
        if self.idle_s and terminal.unattended_since is None and now - terminal.last_input >= self.idle_s:
            return End(f"nothing was typed for {self.idle_s} s", Close.LIMIT)
        if self.longest_s and now - terminal.opened >= self.longest_s:
            return End(f"it reached the longest time that is allowed, {self.longest_s} s", Close.LIMIT)
        return None


class LiveTerminals:
    """`async with` it: on leaving, every terminal is told that the node drains, and its end is written down."""

    def __init__(self, *, node: str, registry: TunnelRegistry, limits: Limits) -> None:
        self.node = node
        self.tickets = TicketBook()
        self._registry = registry
        self._limits = limits
        self._terminals: dict[UUID, TerminalSession] = {}
        self._web_logins: dict[UUID, str | None] = {}
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
        return asyncio.run_coroutine_threadsafe(self._start(row, cols, rows, web_login), self._loop).result(10)

    def mint(self, *, session: UUID, person: str, role: Role) -> str:
        """Another ticket, for a browser that comes back. Conflict when the terminal is gone."""
        return asyncio.run_coroutine_threadsafe(self._mint(session, person, role), self._loop).result(10)

    async def _mint(self, session: UUID, person: str, role: Role) -> str:
        if session not in self._terminals:
            raise Conflict("this terminal has ended")
        return self.tickets.mint(session=session, person=person, role=role)

    async def _start(self, row: Session, cols: int, rows: int, web_login: str | None) -> str:
        terminal = TerminalSession(row.id, row.person.username, cols, rows)
        self._terminals[row.id] = terminal
        self._web_logins[row.id] = web_login
        self._own(self._life(row, terminal))
        if self._draining:
            terminal.end(_STOPPING)
        return self.tickets.mint(session=row.id, person=row.person.username, role=Role.DRIVER)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        # Not in the context of the request that opened the terminal: asgiref keeps that request's database thread in
        # it, which is gone when the terminal wants to write down its end.
        task = self._loop.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The life of each terminal

    async def _life(self, row: Session, terminal: TerminalSession) -> None:
        """The root of one terminal's task: whatever happens, its viewers are told and the row is closed."""
        call = _Call(self._registry.get(row.host_id), row, row.host)
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
        del self._terminals[row.id], self._web_logins[row.id]
        await terminal.say_goodbye(end)

    async def _write_end(self, row: Session, terminal: TerminalSession, end: End) -> None:
        if end.code is Close.HOST_KEY_MISMATCH:
            await database_sync_to_async(sessions.note_key_mismatch)(session_id=row.id)
        await database_sync_to_async(sessions.end_session)(
            session_id=row.id, reason=end.reason, bytes_in=terminal.input_offset, bytes_out=terminal.ring.head
        )
        log.info("terminal ended", session=str(row.id), host=row.host.name, person=terminal.person, reason=end.reason)

    # Limits and rights

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for terminal in list(self._terminals.values()):
                if end := self._limits.exceeded(terminal, now):
                    terminal.end(end)

    async def recheck(self) -> None:
        """End every terminal that may not go on. Runs at each change and every few seconds."""
        if not self._terminals:
            return
        watched = [Watched(session_id, self._web_logins[session_id]) for session_id in self._terminals]
        for session_id, end in (await database_sync_to_async(failing)(watched)).items():
            if terminal := self._terminals.get(session_id):
                terminal.end(end)


@dataclass(slots=True)
class _Call:
    """One terminal's way to its host: dials through the tunnel, and says what a failure means."""

    tunnel: LiveTunnel | None
    row: Session
    host: Host

    async def dial(self, terminal: TerminalSession) -> asyncssh.SSHClientConnection:
        if self.tunnel is None:
            raise reach.HostUnreachable(f"{self.host.name} went offline")
        return await reach.connect(
            self.tunnel,
            host=self.host.name,
            login=self.row.login,
            host_keys=self.host.host_keys,
            key_id=f"{terminal.person} session {terminal.id}",
            asker=terminal,
        )

    def explain(self, error: BaseException) -> End:
        if isinstance(error, reach.HostKeyMismatch):
            return End(f"{error}; an admin must look at this", Close.HOST_KEY_MISMATCH)
        if isinstance(error, reach.LoginRefused):
            return End(str(error), Close.NOT_ALLOWED)
        if isinstance(error, reach.HostUnreachable | asyncssh.Error | OSError):
            return End(str(error), Close.TUNNEL_LOST)
        raise error

    async def name_tunnel(self, end: End) -> End:
        """Where the shell was lost with its tunnel, say so: the tunnel knows its reason a moment later."""
        if end.code is not Close.TUNNEL_LOST or self.tunnel is None:
            return end
        done, _ = await asyncio.wait({self.tunnel.closed}, timeout=0.3)
        return End(f"the tunnel of {self.host.name} was lost: {done.pop().result()}", end.code) if done else end


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
