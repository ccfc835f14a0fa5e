"""The live terminals of this node: started, limited, re-checked and ended here, each in a task that this owns."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar
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
from terminals.reception import Reception
from terminals.recheck import Standing, Watched, judge, withheld
from terminals.recording.recorder import Recorder
from terminals.recording.recordings import Recordings, unrecorded
from terminals.seats import Basis, Seat, owner_seat
from terminals.session import TerminalSession
from terminals.shell import Program
from terminals.tickets import TicketBook
from tunnels import spool
from tunnels.errors import Conflict, TooMany
from tunnels.registry import TunnelRegistry

_STOPPING = End("the broker is stopping", Close.DRAINING, retry_after_s=5)
MAX_OF_NODE = 2000
MAX_OF_PERSON = 100
TICK_S = 1.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


class LiveTerminals:
    """`async with` it: on leaving, every terminal is told that the node drains, and its end is written down."""

    def __init__(
        self, *, node: str, registry: TunnelRegistry, limits: Limits, recordings: Recordings | None = None
    ) -> None:
        self.node = node
        self.tickets = TicketBook()
        self._registry = registry
        self._limits = limits
        self._recordings = recordings
        self.lines = Lines()
        self._kept = Kept()
        self._terminals: dict[UUID, TerminalSession] = {}
        self._watched: dict[UUID, Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.reception = Reception(
            tickets=self.tickets, terminals=lambda: list(self._terminals.values()), own=self._own
        )
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

    @property
    def viewers(self) -> int:
        return sum(len(terminal.viewers) for terminal in list(self._terminals.values()))

    @property
    def behind(self) -> int:
        """Terminals that wait for their recording to be written."""
        recorders = [terminal.recorder for terminal in list(self._terminals.values())]
        return sum(recorder is not None and recorder.is_behind for recorder in recorders)

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

    def start(self, row: Session, *, cols: int, rows: int, basis: Basis) -> str:
        """Start the terminal of a session just opened, and answer the driver's first ticket. It rests on `basis`."""
        limits = limits_of(row.grant)
        work = self._start(row, limits, cols, rows, basis)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def mint(self, *, session: UUID, seat: Seat, role: Role) -> str:
        """Another ticket, for a browser that comes or comes back. Conflict when the terminal is gone, and its last
        output, which is for its owner alone."""

        def mint() -> str:
            if not seat.is_owner:
                self.reception.check_room(session, seat)
            elif self.find(session) is None:
                raise Conflict("this terminal has ended")
            return self.tickets.mint(session=session, seat=seat, role=role)

        return self.call(mint)

    def call(self, work: Callable[[], T]) -> T:
        """Do something with live terminals, on their loop."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _start(self, row: Session, limits: GrantLimits, cols: int, rows: int, basis: Basis) -> str:
        watched = Watched(row.id, basis.web_login, second_factor=basis.second_factor, api_token=basis.api_token)
        self.begin(row, watched, limits, cols=cols, rows=rows)
        seat = owner_seat(row.person.username, basis=basis)
        return self.tickets.mint(session=row.id, seat=seat, role=Role.DRIVER)

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
        self.reception.watch(row, terminal)
        self._terminals[row.id] = terminal
        self._watched[row.id] = watched
        recorder = self._recordings.begin(row, terminal, self._own) if self._recordings else None
        self._own(self._life(row, terminal, recorder))
        self._own(self._look_again(watched))
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

    async def _life(self, row: Session, terminal: TerminalSession, recorder: Recorder | None) -> None:
        """The root of one terminal's task: whatever happens, its viewers are told and the row is closed."""
        call = Call(self._registry.get(row.host_id), row, row.host, self.lines)
        try:
            if recorder is not None and (problem := await recorder.start()):
                end = unrecorded(problem)
            else:
                end = await call.name_tunnel(await terminal.run(call.dial, call.explain))
        except Exception:
            log.exception("terminal failed", session=str(row.id), host=row.host.name, person=terminal.person)
            end = End("the broker failed; the log says why")
        if end.code is Close.RECORDING_FAILED:
            await terminal.say_goodbye(end)  # first: the same disk may take its time for the end of the recording
        try:
            await self._write_end(row, terminal, recorder, end)
        except Exception:
            log.exception("end of terminal not written", session=str(row.id), reason=end.reason)
        del self._terminals[row.id], self._watched[row.id]
        self.reception.ended(row.id)
        await terminal.say_goodbye(end)
        self._kept.add(terminal, end)

    async def _write_end(self, row: Session, terminal: TerminalSession, recorder: Recorder | None, end: End) -> None:
        sealed = await recorder.close() if recorder is not None else None
        if end.code is Close.HOST_KEY_MISMATCH:
            await spool.keep(sessions.note_key_mismatch, session_id=row.id)
        await spool.keep(
            sessions.end_session,
            session_id=row.id,
            reason=end.reason,
            bytes_in=terminal.input_offset,
            bytes_out=terminal.history.head,
            recording=sealed,
        )
        log.info("terminal ended", session=str(row.id), host=row.host.name, person=terminal.person, reason=end.reason)

    # Limits and rights

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._kept.drop_expired()
            self.reception.tick()
            for terminal in list(self._terminals.values()):
                terminal.tick(now)

    async def recheck(self) -> None:
        """End every terminal that may not go on, and set the limits of the rest. Runs at each change and regularly."""
        if ended := self._kept.sessions:
            for session_id in await database_sync_to_async(withheld)(ended):
                self._kept.drop(session_id)
        if not self._terminals:
            return
        unwelcome = await self.reception.judge()  # first: facts by which a terminal ends, too, are no older than these
        self._enforce(await database_sync_to_async(judge)(list(self._watched.values())))
        self.reception.dismiss(unwelcome)

    async def _look_again(self, watched: Watched) -> None:
        """A change between the decision to open it and now found no such terminal: decide once more, for this one."""
        try:
            self._enforce(await database_sync_to_async(judge)([watched]))
        except Exception:
            log.exception("new terminal not looked at again", session=str(watched.session))  # the next round will

    def _enforce(self, standing: Standing) -> None:
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
