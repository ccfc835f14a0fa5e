"""The tunnel ports of online hosts on 127.0.0.1, as sshd would bind them: for the local users of the broker's machine.

Off unless the operator asks for it. Whoever is on that machine reaches the host's SSH server without a grant, raw, and
still has to log in there; the audit tells of each connection, but not of whom.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import asyncssh
import structlog

from tunnels import presence, spool
from tunnels.directory import Directory
from tunnels.registry import LiveTunnel
from tunnels.splice import WINDOW, End, Splice

ADDRESS = "127.0.0.1"
MAX_OF_HOST = 50
OPEN_TIMEOUT_S = 15
LINGER_S = 10
"""How long a local program may take to read the rest, once the other end is gone."""

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Port:
    number: int
    tunnel: LiveTunnel
    acceptor: asyncio.Server | None = None
    connections: set[LocalConnection] = field(default_factory=set)

    def close(self) -> None:
        if self.acceptor is not None:
            self.acceptor.close()
        for connection in list(self.connections):
            connection.splice.close("the tunnel was closed")


class BoundPorts:
    """One listener for each host that is online here. `own` runs a coroutine until it ends."""

    def __init__(self, *, directory: Directory, own: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._directory = directory
        self._own = own
        self._ports: dict[UUID, _Port] = {}

    def __len__(self) -> int:
        """Listeners that are open."""
        return sum(port.acceptor is not None for port in self._ports.values())

    @property
    def connections(self) -> int:
        return sum(len(port.connections) for port in self._ports.values())

    @asynccontextmanager
    async def hold(self, tunnel: LiveTunnel, number: int) -> AsyncIterator[None]:
        """The host's port leads into `tunnel` while inside; where it cannot be bound, that is logged and nothing else.

        A newer tunnel of the same host takes the port over, and its connections with the old one end with that.
        """
        if before := self._ports.pop(tunnel.host_id, None):
            before.close()
        port = self._ports[tunnel.host_id] = _Port(number, tunnel)
        try:
            await self._listen(port)
            yield
        finally:
            port.close()
            if self._ports.get(tunnel.host_id) is port:
                del self._ports[tunnel.host_id]

    async def _listen(self, port: _Port) -> None:
        loop = asyncio.get_running_loop()
        try:
            # Bound at once, and known before anything is awaited: whatever ends us finds the listener, and closes it.
            bound = socket.create_server((ADDRESS, port.number))
            port.acceptor = await loop.create_server(
                lambda: LocalConnection(self, port), sock=bound, start_serving=False
            )
            await port.acceptor.start_serving()
        except OSError as error:
            log.warning(
                "a tunnel port could not be bound; the tunnel itself is up",
                host=self.name_of(port),
                port=port.number,
                reason=error.strerror,
            )

    def name_of(self, port: _Port) -> str:
        known = self._directory.by_id(port.tunnel.host_id)
        return known.facts.name if known else str(port.tunnel.host_id)

    def admit(self, connection: LocalConnection, port: _Port) -> bool:
        """Whether there is room for one more; then it is on its way."""
        if len(port.connections) >= MAX_OF_HOST or port.tunnel.closed.done():
            log.warning("a local connection was refused", host=self.name_of(port), most=MAX_OF_HOST)
            return False
        port.connections.add(connection)
        self._own(self._carry(connection, port))
        return True

    async def _carry(self, connection: LocalConnection, port: _Port) -> None:
        """The life of one connection, from its record to its record. The root of its task."""
        splice, host = connection.splice, self.name_of(port)
        try:
            await spool.keep(presence.note_local_opened, host=host, address=ADDRESS, port=port.number)
            try:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    await port.tunnel.open(lambda: splice.host, window=WINDOW)
                connection.end.hold(False)
                reason = await splice.closed
            except (asyncssh.Error, OSError) as error:
                reason = f"the SSH server of {host} does not answer through its tunnel: {error}"
            await spool.keep(
                presence.note_local_closed,
                host=host,
                address=ADDRESS,
                port=port.number,
                reason=reason,
                bytes_in=splice.bytes_in,
                bytes_out=splice.bytes_out,
            )
        except Exception:
            log.exception("local connection failed", host=host)
        finally:
            splice.close("the host did not answer")
            port.connections.discard(connection)


class LocalConnection(asyncio.Protocol):
    """A TCP connection to a bound port, as the person's end of a splice."""

    def __init__(self, ports: BoundPorts, port: _Port) -> None:
        self._ports = ports
        self._port = port
        self.splice = Splice()

    @property
    def end(self) -> End:
        return self.splice.person

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._channel = _SocketChannel(cast("asyncio.Transport", transport))
        self.end.connection_made(cast("asyncssh.SSHTCPChannel[bytes]", self._channel))
        self.end.hold(True)  # until there is somebody to hand it on to
        if not self._ports.admit(self, self._port):
            self._channel.abort()

    def data_received(self, data: bytes) -> None:
        self.end.data_received(data, None)

    def eof_received(self) -> bool:
        return self.end.eof_received()

    def pause_writing(self) -> None:
        self.end.pause_writing()

    def resume_writing(self) -> None:
        self.end.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.lost()
        self.end.connection_lost(exc)


class _SocketChannel:
    """What an end asks of a channel, of a socket."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._linger: asyncio.TimerHandle | None = None
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.is_closing = transport.is_closing
        self.abort = transport.abort

    def write(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        self._transport.write(data)

    def write_eof(self) -> None:
        self._transport.write_eof()

    def close(self) -> None:
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self.abort)
        self._transport.close()

    def lost(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
