"""A session channel of a person on a host for which the broker logs in: a terminal, a command or a file transfer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import asyncssh
import structlog
from channels.db import database_sync_to_async
from django.conf import settings

from terminals.access import Capability
from terminals.call import Call
from terminals.end import End
from terminals.grants import limits_of
from terminals.limits import GrantLimits
from terminals.models import Session
from terminals.protocol import MAX_SIZE
from terminals.sessions import open_session
from terminals.shell import Program
from terminals.ssh.as_command import AsCommand
from terminals.ssh.as_terminal import AsTerminal
from terminals.ssh.command import STDERR
from terminals.ssh.target import Brokered
from terminals.ssh.wire import LOST
from tunnels.errors import Refused
from tunnels.outlet import Inlet

if TYPE_CHECKING:
    from terminals.ssh.visitor import Visitor

SFTP = "sftp"
MAX_TERM = 64
MAX_ENV = 64
MAX_ENV_VALUE = 1024

log = structlog.get_logger(__name__)


class BrokeredChannel(asyncssh.SSHServerSession[bytes]):
    def __init__(self, visitor: Visitor, target: Brokered) -> None:
        self._visitor = visitor
        self._target = target
        self._pty: tuple[str, tuple[int, int], dict[int, int]] | None = None
        self._input: deque[bytes] = deque()
        """What nobody can take yet: a window and a half at most, since the channel is not read meanwhile."""
        self._has_eof = self._is_lost = False
        self._running: AsTerminal | AsCommand | None = None
        self._task: asyncio.Task[None] | None = None

    # From AsyncSSH: what is asked for

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan
        self._inlet = Inlet(chan)
        self._inlet.hold(True)

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        if not term_type.isprintable() or len(term_type) > MAX_TERM:
            return False
        self._pty = (term_type or "dumb", _size(*term_size[:2]), dict(term_modes))
        return True

    def shell_requested(self) -> bool:
        return self._start(None)

    def exec_requested(self, command: str) -> bool:
        return self._start(command)

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == SFTP and self._start(None, subsystem)

    def _start(self, command: str | None, subsystem: str | None = None) -> bool:
        work = self._run_command(command, subsystem) if subsystem or not self._pty else self._run_terminal(command)
        self._visitor.own(self._guarded(work))
        return True

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """The root of this channel's task."""
        self._task = asyncio.current_task()
        try:
            await work
        except Refused as refusal:
            self._fail(str(refusal))
        except asyncio.CancelledError:
            log.debug("the client went away", person=self._visitor.key.person)
        except Exception:
            log.exception("session over SSH failed", person=self._visitor.key.person, host=self._target.host)
            self._fail("internal error")

    async def _run_terminal(self, command: str | None) -> None:
        assert self._pty is not None
        capability = Capability.TERMINAL if command is None else Capability.EXEC
        row, limits = await self._open(capability, command or "", has_terminal=True)
        term, (cols, rows), modes = self._pty
        terminal = self._visitor.desk.terminals.begin(
            row,
            self._visitor.watched(row, capability),
            limits,
            cols=cols,
            rows=rows,
            program=Program(command, term, self._env(), modes),
        )
        if self._is_lost:
            terminal.end(End("the client went away"))
            return
        page = f"{settings.BROKERD.portal_url}/sessions/{row.pk}/"
        self._running = AsTerminal(terminal, self._channel, self._feed, page=page)
        self._feed()

    async def _run_command(self, run: str | None, subsystem: str | None) -> None:
        capability = Capability.SFTP if subsystem else Capability.EXEC
        row, limits = await self._open(capability, run or "", has_terminal=False)
        desk = self._visitor.desk
        running = AsCommand(row, self._channel, self._feed, run=run, subsystem=subsystem, env=self._env())
        self._running = running
        desk.held.hold(row, self._visitor.watched(row, capability), limits, running.command)
        if self._is_lost:
            running.leave()
            return
        await running.talk(Call(desk.held.tunnel(row.host_id), row, row.host, desk.terminals.lines))
        how = running.command.exit
        if how.status is not None:
            self._channel.exit(how.status)
        elif how.signal:
            self._channel.exit_with_signal(how.signal, how.core_dumped, how.message)
        else:
            self._fail(await running.command.closed)

    async def _open(self, capability: Capability, command: str, *, has_terminal: bool) -> tuple[Session, GrantLimits]:
        visitor, desk = self._visitor, self._visitor.desk
        person = await visitor.person()

        def decide() -> tuple[Session, GrantLimits]:
            desk.terminals.check_room(person.username)
            desk.held.check_room(person.username)
            row = open_session(
                person=person,
                host_name=self._target.host,
                login=self._target.login,
                node=desk.held.node,
                address=visitor.address,
                proof=visitor.proof,
                is_online=desk.held.is_online,
                way=Session.Way.SSH,
                capability=capability,
                command=command,
                has_terminal=has_terminal,
            )
            return row, limits_of(row.grant)

        opened: tuple[Session, GrantLimits] = await database_sync_to_async(decide)()
        return opened

    def _env(self) -> dict[str, str]:
        """Of the client's variables, those of language: the rest is between a person and a host that is theirs."""
        given = self._channel.get_environment()
        chosen = [(name, value) for name, value in given.items() if name == "LANG" or name.startswith("LC_")]
        return {name: value for name, value in chosen[:MAX_ENV] if len(value) <= MAX_ENV_VALUE and value.isprintable()}

    def _fail(self, reason: str) -> None:
        """Say why, where the client prints it, and end with its own status for failures."""
        end = "\r\n" if self._pty else "\n"
        if not self._channel.is_closing():
            self._channel.write(f"brokerd: {reason}{end}".encode(), STDERR)
        self._channel.exit(LOST)

    # From AsyncSSH, while it runs

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._input.append(data)
        self._feed()

    def eof_received(self) -> bool:
        self._has_eof = True
        self._feed()
        return True

    def _feed(self) -> None:
        """Hand on what can be taken, and read no more while something cannot."""
        try:
            must_wait = self._running is None or self._running.feed(self._input, has_eof=self._has_eof)
            self._inlet.hold(must_wait)
        except Exception:
            # Out of here it would end the connection, with all channels on it.
            log.exception("input over SSH failed", person=self._visitor.key.person, host=self._target.host)
            self._fail("internal error")

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._running is not None:
            self._running.resize(*_size(width, height))
        elif self._pty is not None:
            self._pty = (self._pty[0], _size(width, height), self._pty[2])

    def signal_received(self, signal: str) -> None:
        if self._running is not None:
            self._running.send_signal(signal)

    def pause_writing(self) -> None:
        if self._running is not None:
            self._running.outlet.pause()

    def resume_writing(self) -> None:
        if self._running is not None:
            self._running.outlet.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._visitor.sessions -= 1
        if isinstance(self._running, AsTerminal):
            self._running.leave()
        elif self._running is not None and self._task is not None:
            self._task.cancel()  # earlier, the row might be written and nobody know of it


def _size(cols: int, rows: int) -> tuple[int, int]:
    """A size that a terminal can have; clients without one send zeros."""
    return min(cols or 80, MAX_SIZE), min(rows or 24, MAX_SIZE)
