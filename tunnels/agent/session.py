"""One session channel of the login shell: turns SSH requests into a program, and its bytes into channel data and back.

AsyncSSH closes the whole connection when one of these callbacks raises, and with it the other terminals of the same
person; so each is contained: it ends this session only.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncssh

from tunnels.agent import files
from tunnels.agent.account import Account
from tunnels.agent.process import Process, Program, Pty
from tunnels.agent.stage import Seat, Stage
from tunnels.agent.valve import Valve

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

HIGH_WATER = 32 * 1024
LOW_WATER = 8 * 1024
NOTHING_SHARED = (
    b"[brokerd-agent: on this machine people only watch what its user shares, and nothing is shared now]\r\n"
)
SIGNALS = frozenset(
    {"ABRT", "ALRM", "CONT", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "STOP", "TERM", "TSTP"}
    | {"USR1", "USR2", "WINCH"}
)


def contained(fallback: R) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
    """The root handler of a callback: an exception ends the session it is about, never the connection."""

    def wrap(callback: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
        @functools.wraps(callback)
        def run(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return callback(self, *args, **kwargs)
            except Exception:
                logger.exception("session failed in %s", callback.__name__)
                self.abandon()
                return fallback

        return run

    return wrap


class Sessions:
    """All running sessions of this agent: how many there may be, and the end of all of them."""

    def __init__(self, account: Account, *, limit: int, hangup_s: float, shared_only: bool = False) -> None:
        self.account = account
        self.hangup_s = hangup_s
        self.stage = Stage()
        self.shared_only = shared_only
        """People only join what is shared: there is no shell, command or transfer for them."""
        self._limit = limit
        self._live: set[Session] = set()
        self._dying: set[Process | Seat] = set()

    def admit(self, session: Session) -> bool:
        """Takes a place for `session`; False when all are taken."""
        if len(self._live) >= self._limit:
            return False
        self._live.add(session)
        return True

    def leave(self, session: Session, process: Process | Seat | None) -> None:
        self._live.discard(session)
        if process and not process.reaped.is_set():
            self._dying.add(process)
            self._dying = {other for other in self._dying if not other.reaped.is_set()}

    async def end(self) -> None:
        """Hangs up every session and waits, a little longer than the grace, until all programs are reaped."""
        for session in tuple(self._live):
            session.abandon()
        try:
            async with asyncio.timeout(self.hangup_s + 1):
                for process in tuple(self._dying):
                    await process.reaped.wait()
        except TimeoutError:
            logger.warning("programs that SIGKILL did not end: %d", len(self._dying))


class Session(asyncssh.SSHServerSession[bytes]):
    """One shell, command, file transfer or seat at a shared terminal.

    `link` is held while the connection below takes no bytes; `who` it is that came.
    """

    def __init__(self, sessions: Sessions, link: Valve, who: str) -> None:
        self._sessions = sessions
        self._who = who
        self._chan: asyncssh.SSHServerChannel[bytes]
        self._pty: Pty | None = None
        self._terminal_type = ""
        self._process: Process | Seat | None = None
        self._outlet = Valve(self._hold_output, self._release_output)
        self._unfollow = self._outlet.follow(link)
        self._over = False

    # -- before the program runs

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan
        chan.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)

    @contained(False)
    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        self._terminal_type = term_type
        self._pty = Pty(term_size, dict(term_modes))
        return True

    @contained(False)
    def shell_requested(self) -> bool:
        if self._sessions.stage.is_open:
            return self._join()
        if self._sessions.shared_only:
            asyncio.get_running_loop().call_soon(self._turn_away)
            return True
        shell = self._sessions.account.shell
        return self._start([f"-{PurePath(shell).name}"])

    @contained(False)
    def exec_requested(self, command: str) -> bool:
        account = self._sessions.account
        if files.is_scp(command) and not account.has_program("scp"):
            return self._start_files(shlex.split(command))
        return self._start([PurePath(account.shell).name, "-c", command.encode()])

    @contained(False)
    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp" and self._start_files(["sftp"])

    def _start(self, argv: list[str | bytes]) -> bool:
        account = self._sessions.account
        environment = account.environment(self._chan.get_environment_bytes())
        if self._pty and self._terminal_type:
            environment[b"TERM"] = self._terminal_type.encode()
        return self._run(Program(account.shell, argv, environment, account.directory, self._pty))

    def _start_files(self, words: list[str]) -> bool:
        account, argv = self._sessions.account, files.argv(*words)
        environment = {**account.environment({}), b"PYTHONPATH": files.import_path()}
        return self._run(Program(argv[0], argv, environment, account.directory, None))

    def _join(self) -> bool:
        """The shell that the machine's user shares, in place of one of our own."""
        if not self._admitted():
            return False
        self._process = self._sessions.stage.join(self._who, self)
        return True

    @contained(None)
    def _turn_away(self) -> None:
        if not self._over:
            self._chan.write(NOTHING_SHARED)
            self.exited(1)

    def _admitted(self) -> bool:
        if self._sessions.admit(self):
            return True
        logger.warning("session refused: too many at once")
        return False

    def _run(self, program: Program) -> bool:
        if self._sessions.shared_only or not self._admitted():
            return False
        self._process = Process(program, self, hangup_s=self._sessions.hangup_s)
        if self._outlet.is_held:
            self._process.hold_output()
        return True

    # -- from the client to the program

    @contained(None)
    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._process and not self._process.write(data):
            # not at once: AsyncSSH refills the window of a channel that pauses while it delivers (see DESIGN, traps)
            asyncio.get_running_loop().call_soon(self._pause_input)

    def _pause_input(self) -> None:
        if self._process and not self._process.takes_input:
            self._chan.pause_reading()

    @contained(None)
    def input_taken(self) -> None:
        if not self._over:
            self._chan.resume_reading()

    @contained(True)
    def eof_received(self) -> bool:
        """True keeps our side open: the program may have more to say."""
        if self._process:
            self._process.write_eof()
        return True

    @contained(None)
    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._process:
            self._process.resize((width, height, pixwidth, pixheight))

    @contained(None)
    def signal_received(self, signal: str) -> None:
        if self._process and signal in SIGNALS:
            self._process.send_signal(signal_number(signal))

    def break_received(self, msec: int) -> bool:
        return False

    # -- from the program to the client

    def pause_writing(self) -> None:
        self._outlet.hold()

    def resume_writing(self) -> None:
        self._outlet.release()

    def _hold_output(self) -> None:
        if self._process:
            self._process.hold_output()

    def _release_output(self) -> None:
        if self._process:
            self._process.release_output()

    @contained(None)
    def output(self, data: bytes, from_stderr: bool) -> None:
        if self._over or self._chan.is_closing():
            return
        if from_stderr:
            self._chan.write_stderr(data)
        else:
            self._chan.write(data)

    @contained(None)
    def exited(self, returncode: int) -> None:
        self._leave()
        if returncode >= 0:
            self._chan.exit(returncode)
        else:
            self._chan.exit_with_signal(signal_name(-returncode))

    # -- the end

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def abandon(self) -> None:
        """Ends this session from our side, whatever state it is in."""
        self._leave()
        self._chan.close()

    def _leave(self) -> None:
        if self._over:
            return
        self._over = True
        self._unfollow()
        if self._process:
            self._process.hang_up()
        self._sessions.leave(self, self._process)


def signal_number(name: str) -> int:
    return int(signal.Signals[f"SIG{name}"])


def signal_name(number: int) -> str:
    """RFC 4254 section 6.10: the name without SIG; one that it does not list carries a domain."""
    try:
        name = signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"{number}@brokerd"
    return name if name in SIGNALS else f"{name}@openssh.com"
