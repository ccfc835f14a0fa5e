"""The SSH session channel with a pty that a terminal session runs in: AsyncSSH's callbacks turned into plain calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncssh

from terminals.end import End
from terminals.protocol import WINDOW, Close

if TYPE_CHECKING:
    from terminals.session import TerminalSession

TERM = "xterm-256color"
OPEN_TIMEOUT_S = 15


class Shell(asyncssh.SSHClientSession[bytes]):
    """`over` tells, with the reason, when the channel has closed."""

    def __init__(self, session: TerminalSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._exit: dict[str, object] | None = None
        self._wants_pause = self._is_paused = False
        self.writable = True
        self.over: asyncio.Future[End] = self._loop.create_future()

    # From AsyncSSH

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._session.output(data)

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

    def pause(self) -> None:
        """Stop reading, so that the remote program blocks. Safe to call from anywhere, again and again."""
        self._want(True)

    def resume(self) -> None:
        self._want(False)

    def _want(self, paused: bool) -> None:
        # Not within `data_received`: there, AsyncSSH 2.24.1 tops the window up in full for data not yet delivered.
        if paused != self._wants_pause:
            self._wants_pause = paused
            self._loop.call_soon(self._obey)

    def _obey(self) -> None:
        if self._channel is None or self._wants_pause == self._is_paused:
            return
        self._is_paused = self._wants_pause
        if self._is_paused:
            self._channel.pause_reading()
        else:
            self._channel.resume_reading()


async def open_shell(
    connection: asyncssh.SSHClientConnection, session: TerminalSession, *, cols: int, rows: int
) -> Shell:
    """A login shell in a pty on the host; its output goes to `session.output`.

    Raises asyncssh.Error or TimeoutError. Cancelling it leaves the channel to the caller, who closes the connection.
    """
    shell = Shell(session)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await connection.create_session(
                lambda: shell,
                term_type=TERM,
                term_size=(cols, rows),
                encoding=None,
                window=WINDOW,
                max_pktsize=32 * 1024,
            )
    except TimeoutError as error:
        raise TimeoutError(f"the host did not open a shell within {OPEN_TIMEOUT_S} s") from error
    return shell
