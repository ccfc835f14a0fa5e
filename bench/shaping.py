"""A slow and distant line in front of ports of loopback: `python -m bench.shaping`, a process of its own.

Each direction of each connection is delayed and paced for itself. What else a real line does is kept: to connect takes
a round trip, and bytes that the line cannot take yet wait in a short queue, behind which the sender is held back.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

CHUNK = 4096
QUEUE = 64 * 1024
"""Bytes that wait for the line; those on their way along it are not among them."""
UNREAD = 32 * 1024
"""What the kernel takes from a sender beyond that."""
SEGMENT = 1460
"""Of TCP on Ethernet, bytes."""


@dataclass(frozen=True, slots=True)
class Line:
    round_trip_s: float
    rate: float
    """Bytes a second, each way."""


@contextmanager
def shaped(line: Line, ports: Sequence[int]) -> Iterator[list[int]]:
    """Ports that lead to `ports` over such a line, while inside."""
    command = [sys.executable, "-m", "bench.shaping", str(line.round_trip_s), str(line.rate), *map(str, ports)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin and child.stdout
    try:
        yield [int(port) for port in child.stdout.readline().split()]
    finally:
        child.stdin.close()
        child.wait(10)


async def _serve(line: Line, ports: Sequence[int]) -> None:
    """The child: until stdin ends."""
    async with asyncio.TaskGroup() as group:
        servers = [await _listen(group, line, port) for port in ports]
        print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        raise SystemExit  # cancels what is still connected


async def _listen(group: asyncio.TaskGroup, line: Line, port: int) -> asyncio.Server:
    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        group.create_task(_join(line, reader, writer, port))

    listener = _with_small_buffer()  # so have the sockets that it accepts
    listener.bind(("127.0.0.1", 0))
    return await asyncio.start_server(accept, sock=listener, limit=CHUNK, backlog=512)


async def _join(line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """One connection, to its end."""
    loop = asyncio.get_running_loop()
    target = _with_small_buffer()
    await loop.sock_connect(target, ("127.0.0.1", port))
    far_reader, far_writer = await asyncio.open_connection(sock=target, limit=CHUNK)
    connected = loop.time() + line.round_trip_s
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(line, reader, far_writer, connected))
            # The far side knows of it when the last part of TCP's handshake arrives.
            group.create_task(_carry(line, far_reader, writer, connected + line.round_trip_s / 2))
    except* OSError:  # either side has cut it
        pass
    finally:
        far_writer.transport.abort()
        writer.transport.abort()


async def _carry(line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begins: float) -> None:
    """One direction, to its end."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def depart() -> None:
        loop, free, data = asyncio.get_running_loop(), begins, b"more"
        while data:
            data = await reader.read(CHUNK)
            free = max(free, loop.time()) + len(data) / line.rate
            under_way.put_nowait((free + line.round_trip_s / 2, data))
            await asyncio.sleep(free - loop.time() - QUEUE / line.rate)

    async def arrive() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(depart())
        group.create_task(arrive())


def _with_small_buffer() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD)
    # Loopback's segments of 64 KB do not fit into it, and the kernel would wait for acknowledgements that are late.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    made.setblocking(False)
    return made


if __name__ == "__main__":
    round_trip_s, rate, *ports = sys.argv[1:]
    asyncio.run(_serve(Line(float(round_trip_s), float(rate)), [int(port) for port in ports]))
