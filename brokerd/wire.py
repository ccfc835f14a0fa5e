"""The way out of a connection, with what ASGI's `send` lacks: it knows whether the peer reads, and says why it closes.

Daphne's `await send()` returns at once and the transport buffers without bound, so a client that never reads would grow
this process by all that its terminal prints. Twisted tells a registered push producer when its 64 KiB buffer is full
and when it is empty again; between the two, terminals send nothing. The way in is bounded likewise: reading stops while
too many messages wait for the consumer.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

MAX_WAITING = 64
"""Messages that wait for the consumer before the socket is no longer read."""
MAX_REASON = 120
"""Bytes of a close reason; RFC 6455 allows 123."""
RESPONSE_STALL_S = 60
"""How long the peer of a response may leave 64 KiB unread."""
MAX_UNREAD = 256 * 1024
"""Bytes written since the peer last read, all of them short messages; beyond, the connection is cut."""


@implementer(IPushProducer)
class WebSocketWire:
    """Satisfies `terminals.viewer.Wire`. `on_writable`, where set, is called when the peer reads again."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._unread = 0
        self.writable = True
        self.on_writable: Callable[[], object] | None = None
        protocol.transport.unregisterProducer()  # the HTTP channel's, from before the upgrade
        protocol.transport.registerProducer(self, True)

    def send_bytes(self, data: bytes) -> None:
        if self._may_write(len(data)):
            self._protocol.sendMessage(data, True)

    def send_text(self, text: str) -> None:
        payload = text.encode()
        if self._may_write(len(payload)):
            self._protocol.sendMessage(payload, False)

    def close(self, code: int, reason: str) -> None:
        cut = reason.encode()[:MAX_REASON].decode("utf-8", "ignore")
        # Not `sendClose`: Autobahn keeps 1011, the code of an internal error, from applications.
        self._protocol.sendCloseFrame(code=int(code), reasonUtf8=cut.encode())

    def _may_write(self, count: int) -> bool:
        if not self.writable:
            self._unread += count
            if self._unread > MAX_UNREAD:
                self._protocol.dropConnection(abort=True)
                return False
        return True

    # From the transport

    def pauseProducing(self) -> None:
        self.writable = False

    def resumeProducing(self) -> None:
        self.writable, self._unread = True, 0
        if self.on_writable is not None:
            self.on_writable()

    def stopProducing(self) -> None:
        self.writable = False


@implementer(IPushProducer)
class ResponseDrain:
    """Holds whoever writes an HTTP response while its peer does not read; one that reads nothing at all is cut."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._is_open = asyncio.Event()
        self._is_open.set()

    async def wait(self) -> None:
        try:
            async with asyncio.timeout(RESPONSE_STALL_S):
                await self._is_open.wait()
        except TimeoutError:
            if self._request.channel is not None:
                self._request.channel.forceAbortClient()

    # From the transport

    def pauseProducing(self) -> None:
        self._is_open.clear()

    def resumeProducing(self) -> None:
        self._is_open.set()

    def stopProducing(self) -> None:
        self._is_open.set()


def frame(payload: bytes, *, is_text: bool) -> bytes:
    """A message as a single frame of a server: whole and unmasked (RFC 6455 section 5.2)."""
    first, count = 0x81 if is_text else 0x82, len(payload)
    if count < 126:
        return bytes((first, count)) + payload
    if count < 65536:
        return struct.pack("!BBH", first, 126, count) + payload
    return struct.pack("!BBQ", first, 127, count) + payload


class BoundedQueue(asyncio.Queue[dict[str, Any]]):
    """Messages from one connection to its application: over the limit, the transport is no longer read."""

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self._transport = transport
        self._is_paused = False

    def put_nowait(self, item: dict[str, Any]) -> None:
        super().put_nowait(item)
        if self.qsize() >= MAX_WAITING and not self._is_paused:
            self._is_paused = True
            self._transport.pauseProducing()

    async def get(self) -> dict[str, Any]:
        item = await super().get()
        if self._is_paused and self.qsize() < MAX_WAITING // 2:
            self._is_paused = False
            self._transport.resumeProducing()
        return item
