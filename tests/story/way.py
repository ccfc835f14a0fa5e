"""A way from a client to the broker that breaks after a counted number of bytes, in either direction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

LATE_S = 0.02
"""For so long a broken way is asked for what it still holds."""


class Break(StrEnum):
    CUT = "cut"
    """Both ends hear of it."""
    SILENCE = "silence"
    """Neither hears of it: the network is gone, the lid was closed."""
    LATE = "late"
    """As silence; what the client had sent arrives after all, when it has long come back on another connection."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one connection: it breaks after so many bytes `down` to the client, or `up` to the broker."""

    down: int
    up: int
    how: Break


class Way:
    """Takes connections for the broker's port, one after the other."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._expected: tuple[Fate | None, asyncio.Event] = (None, asyncio.Event())
        self._late: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._carrying: set[asyncio.Task[None] | None] = set()

    def expect(self, fate: Fate | None) -> asyncio.Event:
        """Set what becomes of the next connection (None: it holds). The event says that it has broken."""
        self._expected = fate, asyncio.Event()
        return self._expected[1]

    async def carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, until it ends or breaks."""
        self._carrying.add(asyncio.current_task())
        try:
            await self._carry(client, to_client)
        finally:
            self._carrying.discard(asyncio.current_task())

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        fate, broken = self._expected
        broker, to_broker = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [to_client, to_broker]
        down = asyncio.create_task(_pump(broker, to_client, fate and fate.down))
        up = asyncio.create_task(_pump(client, to_broker, fate and fate.up))
        try:
            done, _ = await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            down.cancel()
            up.cancel()
            await asyncio.wait({down, up})
        has_ended = not any(pump.result() for pump in done)
        if has_ended or fate is None or fate.how is Break.CUT:
            to_client.close()
            to_broker.close()
        elif fate.how is Break.LATE:
            self._late.append((client, to_broker))
        broken.set()

    async def deliver_late(self) -> None:
        """What was sent on connections that are broken, and had not arrived, arrives now."""
        for client, to_broker in self._late:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_S):
                    await _pump(client, to_broker, None)
        self._late.clear()

    async def close(self) -> None:
        """Break all that is left."""
        for writer in self._writers:
            writer.transport.abort()
        if self._carrying:
            await asyncio.wait(self._carrying)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> bool:
    """Pass `left` bytes on (None: all). True after these, False at the end of the stream."""
    with contextlib.suppress(ConnectionError):
        while left is None or left > 0:
            data = await reader.read(65536 if left is None else min(left, 65536))
            if not data:
                return False
            writer.write(data)
            await writer.drain()
            if left is not None:
                left -= len(data)
        return True
    return False


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    way = Way(port)
    server = await asyncio.start_server(way.carry, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        await way.close()
