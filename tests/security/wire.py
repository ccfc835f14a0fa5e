"""What an attacker on the wire has: bare sockets from many addresses, and a place between a client and the gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from tests.story.broker import SCALE

VERSION = b"SSH-2.0-honest\r\n"
IGNORE, NEWKEYS = 2, 21
TAG = 16
"""Bytes after a packet of AES-GCM, whose length is in the clear (RFC 5647)."""


def addresses(net: int, count: int) -> Iterator[str]:
    """Sources on loopback: 127.NET.0.1 and on."""
    yield from (f"127.{net}.{index // 250}.{index % 250 + 1}" for index in range(count))


def dial(port: int, source: str = "127.0.0.1", *, receive: int = 0) -> socket.socket:
    """A connection from `source`; `receive` bytes are all that it ever takes in, where given."""
    peer = socket.socket()
    if receive:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    peer.settimeout(20 * SCALE)
    peer.bind((source, 0))
    peer.connect(("127.0.0.1", port))
    return peer


def greeting(peer: socket.socket) -> bytes:
    """The first line that the gateway says; empty where it says none."""
    try:
        return peer.makefile("rb").readline()
    except ConnectionError:
        return b""


def rest(peer: socket.socket) -> bytes:
    """All that comes until the gateway ends the connection. TimeoutError where it does not."""
    received = bytearray()
    try:
        while data := peer.recv(65536):
            received += data
    except ConnectionError:
        pass
    return bytes(received)


def send(peer: socket.socket, data: bytes) -> None:
    """As far as the gateway takes it: it may be gone."""
    with suppress(ConnectionError):
        peer.sendall(data)


def packet(payload: bytes) -> bytes:
    """In the clear, as before the first keys (RFC 4253 section 6)."""
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 if padding < 4 else 0
    return (1 + len(payload) + padding).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


Tamper = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Hands on what a client sends, as it likes."""


@asynccontextmanager
async def between(port: int, tamper: Tamper, source: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port of a proxy to the gateway, whose client half is in the hands of `tamper`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, far = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        with suppress(OSError, EOFError, asyncio.CancelledError):
            await asyncio.gather(tamper(reader, far), pour(near, writer))
        writer.close()
        far.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def flip(bit: int) -> Tamper:
    """One bit of what the client sends is the other way round."""

    async def tamper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = 0
        while data := await reader.read(65536):
            if at <= bit // 8 < at + len(data):
                changed = bytearray(data)
                changed[bit // 8 - at] ^= 1 << bit % 8
                data = bytes(changed)
            at += len(data)
            writer.write(data)
        writer.close()

    return tamper


def terrapin(*, inject: bool, drop: bool) -> Tamper:
    """CVE-2023-48795: a packet more before the keys, and the first one after them less, so that the numbers agree."""

    async def tamper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readuntil(b"\n"))
        kind = 0
        while kind != NEWKEYS:
            head = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(head, "big"))
            kind = body[1]
            if kind == NEWKEYS and inject:
                writer.write(packet(bytes([IGNORE, 0, 0, 0, 0])))
            writer.write(head + body)
        if drop:
            head = await reader.readexactly(4)
            await reader.readexactly(int.from_bytes(head, "big") + TAG)
        await pour(reader, writer)

    return tamper
