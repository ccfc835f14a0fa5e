"""A small real websocket client of a terminal session."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.story.broker import SCALE, Broker

SUBPROTOCOL = "brokerd.terminal.v1"


@dataclass
class Terminal:
    """Reads in the background; `acks` tells whether it acknowledges what it read."""

    socket: ClientConnection
    acks: bool = True
    output: bytearray = field(default_factory=bytearray)
    """What was received since `output_offset` of the attach answer."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    attached: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                async with self._news:
                    await self._take(message)
                    self._news.notify_all()
        except websockets.ConnectionClosed:
            pass
        async with self._news:
            self._news.notify_all()

    async def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.output += message
            if self.acks:
                await self.control("ack", offset=self.offset)
            return
        fields = json.loads(message)
        self.messages.append(fields)
        if fields["type"] == "attached":
            self.attached = fields

    @property
    def offset(self) -> int:
        """The next output byte, counted from the beginning of the session."""
        return int(self.attached["output_offset"]) + len(self.output)

    async def control(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def attach(self, ticket: str, **more: Any) -> dict[str, Any]:
        fields = {"cols": 80, "rows": 24, "output_offset": None, "input_offset": None, **more}
        await self.control("attach", ticket=ticket, **fields)
        return await self.until_message("attached")

    async def send(self, data: bytes) -> None:
        await self.socket.send(data)

    async def until(self, text: bytes, seconds: float = 15) -> bytes:
        """All output so far, once `text` is in it."""
        await self._wait(lambda: text in self.output, f"{text!r} in {bytes(self.output[-500:])!r}", seconds)
        return bytes(self.output)

    async def until_message(self, kind: str, seconds: float = 15) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [message for message in self.messages if message["type"] == kind]
            return bool(found)

        await self._wait(look, f"message {kind} among {self.messages}", seconds)
        return found[-1]

    async def _wait(self, probe: Any, what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds * SCALE), self._news:
                while not probe():
                    assert not self._reader.done(), f"closed with {self.close_code} before {what}"
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {what}") from None

    async def closed(self, seconds: float = 15) -> int:
        """The close code, once the broker has closed."""
        async with asyncio.timeout(seconds * SCALE):
            await self._reader
        return self.close_code or 0

    @property
    def close_code(self) -> int | None:
        return self.socket.close_code

    @property
    def close_reason(self) -> str:
        return self.socket.close_reason or ""

    async def close(self) -> None:
        self._reader.cancel()
        await self.socket.close()


async def open_socket(socket: str, broker: Broker, *, origin: str | None = "own", **options: Any) -> ClientConnection:
    return await connect(
        socket,
        origin=broker.url if origin == "own" else origin,
        subprotocols=[SUBPROTOCOL],
        max_size=2**24,
        compression=None,
        **options,
    )


async def open_terminal(
    broker: Broker, host: str, login: str, person: str = "alice", *, acks: bool = True, **more: Any
) -> Terminal:
    """POST /sessions, connect and attach, as the page does."""
    opened = await asyncio.to_thread(
        broker.api, "POST", "/sessions", {"host": host, "login": login, **more}, person, 201
    )
    terminal = Terminal(await open_socket(opened["socket"], broker), acks)
    await terminal.attach(opened["ticket"])
    return terminal
