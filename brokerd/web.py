"""Daphne, made safe and started by us: on our event loop, with bounds that it lacks, and an end that we own."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

# Installs Twisted's asyncio reactor on a loop of its own making, so it comes before anything of Twisted.
from daphne.server import Server  # isort: skip
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner

from brokerd.conf import Address, ConfigError
from brokerd.proxies import is_trusted_proxy
from brokerd.wire import BoundedQueue, ResponseDrain, WebSocketWire, frame
from terminals.protocol import MAX_MESSAGE

MAX_BODY = 1024 * 1024
"""Largest request body, bytes. What fits nowhere is refused before it is read."""
MAX_LEFTOVER = 4 * 1024 * 1024
LEFTOVER_S = 2
"""What still arrives of a refused body is read and dropped, so much and so long: else the answer would be lost with the
connection, and a proxy would tell of a broken gateway."""
MAX_CONNECTIONS = 4000
MAX_OF_SOURCE = 1000
"""Connections of one address; a trusted proxy's count for nobody."""
REQUEST_TIMEOUT_S = 30
"""For a whole request to arrive, and for the next one to follow; a websocket has its own keepalive."""
PING_S = 20
PING_TIMEOUT_S = 50
"""A browser that answers no ping for this long is gone: dead after 70 s in all."""
CLOSE_S = 10
"""How long a websocket that we close may take to answer. Autobahn's 1 s is anything below, since it cuts the fraction
off its clock: who was not quick enough lost the last output and the reason."""


def start_reactor() -> asyncio.AbstractEventLoop:
    """Start Twisted's reactor, without its signal handlers, and answer the loop that it runs on, as all else does."""
    loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
    asyncio.set_event_loop(loop)
    reactor.startRunning(installSignalHandlers=False)
    return loop


class CappedRequest(WebRequest):
    """A request whose body is measured as it arrives: one that is too large is answered 413 and cut.

    Its response waits for a peer that does not read (`brokerd.wire.ResponseDrain`).
    """

    finished: int
    drain: ResponseDrain | None = None

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        self._received = 0
        if length is not None and length > MAX_BODY:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_BODY + MAX_LEFTOVER and self.channel:
            self.channel.transport.abortConnection()
        elif self._received > MAX_BODY:
            self._refuse_body()
        elif not self.finished:
            super().handleContentChunk(data)

    def process(self) -> Any:
        return None if self.finished else super().process()

    def _refuse_body(self) -> None:
        if self.finished or not self.channel:
            return
        transport = self.channel.transport
        body = b'{"type":"about:blank","title":"Content Too Large","status":413,"detail":"the body is too large"}'
        transport.write(
            b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        transport.loseWriteConnection()
        reactor.callLater(LEFTOVER_S, transport.abortConnection)
        self.finished = 1

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.channel and self.drain is None:
            self.drain = ResponseDrain(self)
            self.registerProducer(self.drain, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.producer:
            self.unregisterProducer()
        super().finish()


class CappedFactory(HTTPFactory):
    """Counts connections, not requests: one that says nothing holds a file descriptor just the same."""

    def __init__(self, server: WebServer) -> None:
        super().__init__(server)
        self._transports: list[Any] = []
        self._of_source: Counter[str] = Counter()
        self._look_at = min(MAX_CONNECTIONS, 64)

    def buildProtocol(self, addr: Any) -> Any:
        is_full = len(self._transports) >= MAX_CONNECTIONS or self._of_source[addr.host] >= MAX_OF_SOURCE
        if is_full or len(self._transports) >= self._look_at:
            # Nobody tells of the end of one that became a websocket.
            self._transports = [transport for transport in self._transports if transport.connected]
            self._of_source = Counter(source for item in self._transports if (source := _source(item)))
            self._look_at = min(MAX_CONNECTIONS, max(64, 2 * len(self._transports)))
        if len(self._transports) >= MAX_CONNECTIONS or self._of_source[addr.host] >= MAX_OF_SOURCE:
            return None
        protocol = super().buildProtocol(addr)
        connect = protocol.makeConnection

        def makeConnection(transport: Any) -> None:
            self._transports.append(transport)
            if source := _source(transport):
                self._of_source[source] += 1
            connect(transport)

        protocol.makeConnection = makeConnection
        protocol.requestFactory = CappedRequest
        protocol.timeOut = REQUEST_TIMEOUT_S
        # The clock runs until a whole request is there: a byte now and then, Twisted's idea of a sign of life, is none.
        protocol._channel.resetTimeout = lambda: None
        return protocol


def _source(transport: Any) -> str | None:
    """The address that a connection counts for."""
    host: str = transport.getPeer().host
    return None if is_trusted_proxy(host) else host


class TerminalSocket(WebSocketProtocol):
    """A websocket whose close carries a reason, is not cut after a day, and owes nothing to who reads nothing.

    `wire` is its way out, from the moment the application is started.
    """

    wire: WebSocketWire | None = None

    def dataReceived(self, data: bytes) -> None:
        self._dataReceived(data)  # not Autobahn's, which puts a log line together for each read

    def sendMessage(self, payload: bytes, isBinary: bool = False, *options: Any) -> None:
        """One whole frame, on its way at once; dropped where the connection is closing.

        Autobahn's own makes the same frame in a tenth of the time of a key, then leaves it to the reactor's next turn.
        """
        if self.state != self.STATE_OPEN:
            return
        self.transport.write(frame(payload, is_text=not isBinary))
        # Twisted has queued it; once it has asked for a pause, that queue is the reactor's to empty.
        if self.wire is not None and self.wire.writable:
            self.transport.doWrite()

    def onPing(self, payload: bytes) -> None:
        # Answered past the wire: pongs to a peer that does not read would pile up without bound.
        if self.wire is not None and self.wire.writable:
            super().onPing(payload)

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state != self.STATE_CONNECTING:
            self.sendClose(code=message.get("code") or 1000, reason=message.get("reason") or None)
        else:
            super().handle_reply(message)


class TerminalSocketFactory(WebSocketFactory):
    protocol = TerminalSocket


class WebServer(Server):
    """Daphne's server without its own start, signals and stop."""

    def __init__(self, application: Any) -> None:
        super().__init__(
            application,
            endpoints=["unused"],
            signal_handlers=False,
            ping_interval=PING_S,
            ping_timeout=PING_TIMEOUT_S,
            websocket_timeout=-1,
            websocket_max_message_size=MAX_MESSAGE,
            websocket_max_frame_size=MAX_MESSAGE,
            server_name="brokerd",
            verbosity=0,
        )
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = CappedFactory(self)
        self.ws_factory = TerminalSocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,  # the consumer judges the Origin
            openHandshakeTimeout=self.websocket_handshake_timeout,
            closeHandshakeTimeout=CLOSE_S,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
            tcpNoDelay=True,
        )
        self._port: Any = None

    async def start(self, address: Address) -> Address:
        """Listen, and answer where. ConfigError when the port is taken or not ours to take."""
        globalLogBeginner.beginLoggingTo([lambda _: None], redirectStandardIO=False, discardBuffer=True)
        endpoint = (TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint)(
            reactor, address.port, backlog=512, interface=address.host
        )
        try:
            self._port = await endpoint.listen(self.http_factory).asFuture(asyncio.get_running_loop())
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise ConfigError(
                f"the web server cannot listen on {address} ({reason}); set BROKERD_WEB_BIND to a free address"
            ) from error
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        return Address(address.host, self._port.getHost().port)

    async def stop_listening(self) -> None:
        if self._port is not None:
            await self._port.stopListening().asFuture(asyncio.get_running_loop())

    async def close(self, timeout_s: float) -> None:
        """Let requests finish for a moment, then cancel what is left and cut every connection."""
        if tasks := self._running():
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2)
        for protocol in list(self.connections):
            if transport := getattr(protocol, "transport", None):
                transport.abortConnection()

    def _running(self) -> list[asyncio.Future[None]]:
        tasks = [details.get("application_instance") for details in self.connections.values()]
        return [task for task in tasks if task is not None and not task.done()]

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[dict[str, Any]] | None:
        """Daphne's, with a bounded queue, and for a websocket its wire in the scope."""
        transport = protocol.transport
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if scope["type"] == "websocket":
            protocol.wire = scope["brokerd.wire"] = WebSocketWire(protocol)
            queue = BoundedQueue(transport)
        scope.setdefault("asgi", {"version": "3.0"})
        scope["root_path"] = self.root_path  # Daphne lets any client set it with a header

        async def send(message: dict[str, Any]) -> None:
            await self.handle_reply(protocol, message)
            if (drain := getattr(protocol, "drain", None)) is not None:
                await drain.wait()

        if protocol not in self.connections:
            return None
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(
            self.application(scope=scope, receive=queue.get, send=send)
        )
        return queue
