"""A channel of the tunnel and a TCP socket, tied together: bytes, half-closes and back-pressure, both ways."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

import asyncssh

from tunnels.agent.valve import Valve

logger = logging.getLogger(__name__)


def _contained(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Callbacks of a channel run inside the tunnel's connection: what fails in one ends its splice, not the tunnel."""

    @functools.wraps(callback)
    def run(self: Any, *args: Any) -> Any:
        try:
            return callback(self, *args)
        except Exception:
            logger.exception("forwarded connection failed in %s", callback.__name__)
            self.splice.close()

    return run


class Splice:
    """A channel and a socket, each the other's other side."""

    def __init__(self, outlet: Valve, on_close: Callable[[], None]) -> None:
        self.channel = ChannelEnd(self)
        self.socket = SocketEnd(self)
        self.to_channel = Valve(self.socket.pause, self.socket.resume)
        self._unfollow = self.to_channel.follow(outlet)
        self._on_close: Callable[[], None] | None = on_close

    def close(self) -> None:
        if self._on_close is None:
            return
        self._on_close()
        self._on_close = None
        self._unfollow()
        self.channel.close()
        self.socket.close()


class ChannelEnd(asyncssh.SSHTCPSession[bytes]):
    def __init__(self, splice: Splice) -> None:
        self.splice = splice
        self._chan: asyncssh.SSHTCPChannel[bytes] | None = None

    @_contained
    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._chan = chan
        self.splice.socket.start()

    @_contained
    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.splice.socket.write(data)

    @_contained
    def eof_received(self) -> bool:
        self.splice.socket.write_eof()
        return True

    @_contained
    def connection_lost(self, exc: Exception | None) -> None:
        self._chan = None
        self.splice.close()

    @_contained
    def pause_writing(self) -> None:
        self.splice.to_channel.hold()

    @_contained
    def resume_writing(self) -> None:
        self.splice.to_channel.release()

    def write(self, data: bytes) -> None:
        if self._chan and not self._chan.is_closing():
            self._chan.write(data)

    def write_eof(self) -> None:
        if self._chan and not self._chan.is_closing():
            self._chan.write_eof()

    def pause(self) -> None:
        if self._chan:
            self._chan.pause_reading()

    def resume(self) -> None:
        if self._chan:
            self._chan.resume_reading()

    def close(self) -> None:
        if self._chan:
            self._chan.close()


class SocketEnd(asyncio.Protocol):
    """Reads only once the channel is there to take the bytes."""

    def __init__(self, splice: Splice) -> None:
        self.splice = splice
        self._transport: asyncio.Transport | None = None
        self._held = False
        self._full = False
        self._ends = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()

    def start(self) -> None:
        if self._transport and not self._held:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.splice.channel.write(data)

    def eof_received(self) -> bool:
        self.splice.channel.write_eof()
        self._one_way_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.splice.close()

    def pause_writing(self) -> None:
        """Not at once: AsyncSSH refills the window of a channel that pauses while it delivers (see DESIGN, traps)."""
        self._full = True
        asyncio.get_running_loop().call_soon(self._pause_channel)

    def _pause_channel(self) -> None:
        if self._full:
            self.splice.channel.pause()

    def resume_writing(self) -> None:
        self._full = False
        self.splice.channel.resume()

    def write(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)

    def write_eof(self) -> None:
        if self._transport:
            self._transport.write_eof()
            self._one_way_ended()

    def _one_way_ended(self) -> None:
        self._ends += 1
        if self._ends == 2:
            self.splice.close()

    def pause(self) -> None:
        self._held = True
        if self._transport:
            self._transport.pause_reading()

    def resume(self) -> None:
        self._held = False
        if self._transport:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport:
            self._transport.close()
