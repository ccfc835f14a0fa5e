"""The SSH session channel with a pty that a terminal session runs in: AsyncSSH's callbacks turned into plain calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncssh
import structlog

from terminals.end import End
from terminals.protocol import WINDOW, Close
from terminals.round_trip import RoundTrip
from tunnels.outlet import Inlet

if TYPE_CHECKING:
    from terminals.session import TerminalSession

log = structlog.get_logger(__name__)


class Shell(asyncssh.SSHClientSession[bytes]):
    """`over` tells, with the reason, when the channel has closed."""

    def __init__(self, session: TerminalSession, round_trip: RoundTrip) -> None:
        self._session = session
        self.round_trip = round_trip
        """To the host, over the connection that the shell runs on."""
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._exit: dict[str, object] | None = None
        self._inlet: Inlet | None = None
        self.writable = True
        self.over: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    # From AsyncSSH

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel, self._inlet = chan, Inlet(chan)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        try:
            self._session.output(data)
        except Exception:
            # Out of here it would end the connection, with all terminals that share it (see `terminals.lines`).
            log.exception("output failed", session=str(self._session.id))
            self._session.end(End("the broker failed; the log says why"))

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._session.acknowledge_input()

    def exit_status_received(self, status: int) -> None:
        self._exit = {"status": status}

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._exit = {"signal": signal}

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(self._describe(exc))

    def _describe(self, exc: Exception | None) -> End:
        match self._exit:
            case {"status": status}:
                return End(f"the program ended with status {status}", exit=self._exit)
            case {"signal": signal}:
                return End(f"the program was ended by signal {signal}", exit=self._exit)
        return End(f"the connection to the host was lost: {exc or 'the host closed it'}", Close.TUNNEL_LOST)

    # To the host

    def write(self, data: bytes) -> None:
        if self._channel is not None and data and not self._channel.is_closing():
            self._channel.write(data)

    def resize(self, cols: int, rows: int) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.change_terminal_size(cols, rows)

    def close(self) -> None:
        """End it, and let go of what was not sent yet. `over` is done once the host agrees."""
        if self._channel is not None:
            self._channel.abort()
            self._channel = self._inlet = None

    def pause(self) -> None:
        """Stop reading, so that the remote program blocks. Safe to call from anywhere, again and again."""
        if self._inlet is not None:
            self._inlet.hold(True)

    def resume(self) -> None:
        if self._inlet is not None:
            self._inlet.hold(False)


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in a terminal."""

    command: str | None = None
    """None: the login shell."""
    term: str = "xterm-256color"
    env: Mapping[str, str] = field(default_factory=dict)
    """For the host to take or leave, as its sshd is set up (`AcceptEnv`)."""
    modes: Mapping[int, int] = field(default_factory=dict)
    """Of the person's own terminal (RFC 4254 section 8)."""


async def open_shell(
    session: TerminalSession, connection: asyncssh.SSHClientConnection, round_trip: RoundTrip
) -> Shell:
    """The session's program in a pty on the host; its output goes to `session.output`.

    Raises asyncssh.Error. Cancelling it leaves a half-open channel, which spoils the connection: see `terminals.lines`.
    """
    shell, size = Shell(session, round_trip), (session.cols, session.rows)
    await connection.create_session(
        lambda: shell,
        session.program.command,
        env=list(session.program.env.items()),
        term_type=session.program.term,
        term_size=size,
        term_modes=dict(session.program.modes),
        encoding=None,
        window=WINDOW,
        max_pktsize=32 * 1024,
    )
    if size != (session.cols, session.rows):  # a browser came while the host was still at it
        shell.resize(session.cols, session.rows)
    return shell
