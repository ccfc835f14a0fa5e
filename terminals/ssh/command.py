"""A command on a host, or a file transfer, for a person's channel: three streams, signals and the exit, as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncssh

from terminals.lines import Open
from terminals.round_trip import RoundTrip
from tunnels.outlet import Inlet, Outlet
from tunnels.splice import WINDOW

STDERR = asyncssh.EXTENDED_DATA_STDERR
"""The one extended data type (RFC 4254 section 5.2)."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How it ended: a status or a signal; neither where the connection to the host was lost."""

    status: int | None = None
    signal: str = ""
    core_dumped: bool = False
    message: str = ""

    def __str__(self) -> str:
        if self.signal:
            return f"the command was ended by signal {self.signal}"
        if self.status is not None:
            return f"the command ended with status {self.status}"
        return "the connection to the host was lost"


@dataclass(eq=False)
class Person:
    """The person's side, as the command sees it."""

    write: Callable[[bytes, asyncssh.DataType], None]
    write_eof: Callable[[], None]
    changed: Callable[[], None]
    """`Command.is_full` may have changed."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Who looks at the bytes on their way."""

    to_host: Callable[[bytes], None]
    to_person: Callable[[bytes], None]


class Command(asyncssh.SSHClientSession[bytes]):
    """The channel to the host. `closed` is done with the reason when it is over, `over` once the channel is gone."""

    def __init__(self, person: Person, taps: Taps | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = loop.create_future()
        self.over: asyncio.Future[Exit] = loop.create_future()
        self.bytes_in = self.bytes_out = 0
        self.exit = Exit()
        self._person = person
        self._taps = taps
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._outlet: Outlet | None = None
        self._inlet: Inlet | None = None

    # From AsyncSSH

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel, self._inlet = chan, Inlet(chan)
        self._outlet = Outlet(chan, self._person.changed)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.bytes_out += len(data)
        if self._taps is not None and datatype is None:
            self._taps.to_person(data)
        self._person.write(data, datatype)

    def eof_received(self) -> bool:
        self._person.write_eof()
        return True

    def pause_writing(self) -> None:
        if self._outlet is not None:
            self._outlet.pause()

    def resume_writing(self) -> None:
        if self._outlet is not None:
            self._outlet.resume()

    def exit_status_received(self, status: int) -> None:
        self._exited(Exit(status))

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._exited(Exit(None, signal, core_dumped, msg))

    def _exited(self, how: Exit) -> None:
        # What we ended exits as well. The person is told our reason, not that.
        if not self.closed.done():
            self.exit = how

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(self.exit)
        self._finish(str(self.exit))

    # From the person

    def write(self, data: bytes) -> None:
        self.bytes_in += len(data)
        if self._taps is not None:
            self._taps.to_host(data)
        if self._outlet is not None:
            self._outlet.write(data)

    @property
    def is_full(self) -> bool:
        """Whether the command takes no input right now."""
        return self._outlet is not None and self._outlet.is_full

    def write_eof(self) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def send_signal(self, signal: str) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.send_signal(signal)

    def hold(self, paused: bool) -> None:
        if self._inlet is not None:
            self._inlet.hold(paused)

    def close(self, reason: str = "the client went away") -> None:
        """End it. The first reason counts."""
        self._finish(reason)
        if self._channel is not None:
            self._channel.close()

    def _finish(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)


def opening(command: Command, *, run: str | None, subsystem: str | None, env: dict[str, str]) -> Open[Command]:
    """What `terminals.lines` opens: `command` on a channel of its own, without a pty."""

    async def open_(connection: asyncssh.SSHClientConnection, _: RoundTrip) -> Command:
        create: Callable[..., Awaitable[Any]] = connection.create_session
        await create(
            lambda: command,
            run,
            subsystem=subsystem,
            env=list(env.items()),
            request_pty=False,
            encoding=None,
            window=WINDOW,
        )
        return command

    return open_
