"""Two SSH channels joined byte for byte, with back-pressure both ways. Knows neither hosts nor people."""

from __future__ import annotations

import asyncio

import asyncssh

from tunnels.outlet import Inlet, Outlet

WINDOW = 2 * 1024 * 1024
"""Receive window of a spliced channel, bytes, as OpenSSH's own: what may be on its way over a long, fat network."""


class Splice:
    """The two ends. `closed` is done when it is over, with the reason."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.person, self.host = End(self, "the client"), End(self, "the host")
        self.person.other, self.host.other = self.host, self.person

    @property
    def bytes_in(self) -> int:
        """From the person to the host."""
        return self.person.received

    @property
    def bytes_out(self) -> int:
        return self.host.received

    def close(self, reason: str) -> None:
        """End both, after what they were sent. The first reason counts."""
        if not self.closed.done():
            self.closed.set_result(reason)
        for end in (self.person, self.host):
            end.close()


class End(asyncssh.SSHTCPSession[bytes]):
    """One channel: what it receives goes out at the other."""

    other: End

    def __init__(self, splice: Splice, name: str) -> None:
        self.splice = splice
        self.received = 0
        self._name = name
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._outlet: Outlet | None = None
        self._inlet: Inlet | None = None
        self._early: list[bytes] = []
        self._early_eof = False

    # From AsyncSSH

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel, self._outlet, self._inlet = chan, Outlet(chan, self._tell_other), Inlet(chan)
        for data in self._early:
            self._outlet.write(data)
        if self._early_eof:
            chan.write_eof()
        self._early.clear()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.received += len(data)
        self.other.write(data)

    def eof_received(self) -> bool:
        self.other.write_eof()
        return True  # the other direction goes on

    def pause_writing(self) -> None:
        if self._outlet is not None:
            self._outlet.pause()

    def resume_writing(self) -> None:
        if self._outlet is not None:
            self._outlet.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = self._inlet = None
        self.splice.close(f"{self._name} broke off: {exc}" if exc else f"{self._name} closed it")

    # From the other end

    def write(self, data: bytes) -> None:
        if self._outlet is None:
            self._early.append(data)  # a window of it at most: there is nobody yet to make room for more
        else:
            self._outlet.write(data)

    def write_eof(self) -> None:
        if self._outlet is None:
            self._early_eof = True
        elif self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def hold(self, paused: bool) -> None:
        if self._inlet is not None:
            self._inlet.hold(paused)

    def _tell_other(self) -> None:
        if self._outlet is not None:
            self.other.hold(self._outlet.is_full)
