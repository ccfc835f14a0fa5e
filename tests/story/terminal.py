"""A small real websocket client of a terminal session."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.story.broker import SCALE, Broker
from tests.story.machine import LOGIN, PROMPT

SUBPROTOCOL = "brokerd.terminal.v1"
INPUT_STEP = 16 * 1024
INPUT_AHEAD = 64 * 1024
"""Unacknowledged input that browsers keep to."""


@dataclass
class Terminal:
    """Reads in the background; `acks` tells whether it acknowledges what it read."""

    socket: ClientConnection
    id: str = ""
    acks: bool = True
    output: bytearray = field(default_factory=bytearray)
    """What was received since `output_offset` of the attach answer."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    attached: dict[str, Any] = field(default_factory=dict)
    input_acked: int = 0
    skipped: int = 0
    """Bytes of output that were left out, by what it was told."""

    def __post_init__(self) -> None:
        self._pings = 0
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
                with contextlib.suppress(websockets.ConnectionClosed):  # what came before the end is still to be read
                    await self.ack()
            return
        fields = json.loads(message)
        self.messages.append(fields)
        if fields["type"] == "attached":
            self.attached = fields
            self.input_acked = fields["input_offset"]
        elif fields["type"] == "gap" and fields["from"] == self.offset:
            self.skipped += fields["to"] - fields["from"]
        elif fields["type"] == "input_ack":
            self.input_acked = fields["offset"]

    @property
    def offset(self) -> int:
        """The next output byte, counted from the beginning of the session."""
        return int(self.attached["output_offset"]) + self.skipped + len(self.output)

    @property
    def kinds(self) -> list[str]:
        """The types of the messages so far."""
        return [message["type"] for message in self.messages]

    # To the broker

    async def control(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def attach(self, ticket: str, **more: Any) -> dict[str, Any]:
        fields = {"cols": 80, "rows": 24, "output_offset": None, "input_offset": None, **more}
        await self.control("attach", ticket=ticket, **fields)
        return await self.until_message("attached")

    async def ack(self) -> None:
        """Everything received so far was parsed."""
        await self.control("ack", offset=self.offset)

    async def ping(self) -> None:
        """Returns once everything is here that the broker had sent when it read this."""
        self._pings += 1
        await self.control("ping", t=self._pings)
        await self.wait(lambda: any(self._is_pong(message) for message in self.messages), "pong")

    def _is_pong(self, message: dict[str, Any]) -> bool:
        return message["type"] == "pong" and message["t"] == self._pings

    async def send(self, data: bytes) -> None:
        await self.socket.send(data)

    async def run(self, command: str) -> None:
        """Type a command and Enter."""
        await self.send(command.encode() + b"\r")

    async def paste(self, data: bytes) -> None:
        """Much input, paced by what is acknowledged as a browser does it."""
        begin = self.input_acked
        for start in range(0, len(data), INPUT_STEP):
            sent = begin + start
            await self.wait(lambda sent=sent: self.input_acked > sent - INPUT_AHEAD, f"input beyond {sent} is taken")
            await self.send(data[start : start + INPUT_STEP])

    # From the broker

    async def until(self, text: bytes, seconds: float = 30) -> bytes:
        """All output so far, once `text` is in it."""
        await self.wait(lambda: text in self.output, f"{text!r} is shown", seconds)
        return bytes(self.output)

    async def until_message(self, kind: str, seconds: float = 30) -> dict[str, Any]:
        """The newest message of this type, once there is one."""
        await self.wait(lambda: kind in self.kinds, f"message {kind}", seconds)
        return [message for message in self.messages if message["type"] == kind][-1]

    async def wait(self, probe: Any, what: str, seconds: float = 30) -> None:
        """Until `probe` is true; looked at whenever something arrives."""
        try:
            async with asyncio.timeout(seconds * SCALE), self._news:
                while not probe():
                    assert not self._reader.done(), f"closed with {self.close_code} {self.close_reason} before {what}"
                    await self._news.wait()
        except TimeoutError:
            shown = bytes(self.output[-500:])
            raise AssertionError(f"not within {seconds} s: {what}; {self.messages[-5:]}; {shown!r}") from None

    async def closed(self, seconds: float = 30) -> int:
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

    async def drop(self) -> None:
        """Go without a goodbye, as a browser does whose network is gone."""
        self._reader.cancel()
        self.socket.transport.abort()
        await self.socket.wait_closed()


async def open_socket(socket: str, broker: Broker, *, origin: str | None = "own", **options: Any) -> ClientConnection:
    return await connect(
        socket,
        origin=broker.url if origin == "own" else origin,
        **{"subprotocols": [SUBPROTOCOL], "max_size": 2**24, "compression": None, "proxy": None, **options},
    )


async def request_session(
    broker: Broker, host: str, login: str = LOGIN, person: str = "alice", **more: Any
) -> dict[str, Any]:
    """POST /sessions: id, ticket and socket."""
    body = {"host": host, "login": login, **more}
    return await asyncio.to_thread(broker.api, "POST", "/sessions", body, person, 201)


async def request_ticket(
    broker: Broker, session_id: str, person: str = "alice", role: str = "driver"
) -> dict[str, Any]:
    return await asyncio.to_thread(broker.api, "POST", f"/sessions/{session_id}/tickets", {"role": role}, person)


async def open_terminal(
    broker: Broker, host: str, login: str = LOGIN, person: str = "alice", *, acks: bool = True, **more: Any
) -> Terminal:
    """POST /sessions, connect and attach, as the page does."""
    opened = await request_session(broker, host, login, person, **more)
    terminal = Terminal(await open_socket(opened["socket"], broker), opened["id"], acks)
    await terminal.attach(opened["ticket"])
    return terminal


async def reattach(
    broker: Broker, session_id: str, person: str = "alice", *, acks: bool = True, role: str = "driver", **more: Any
) -> Terminal:
    """A new ticket and websocket for a session that lives; `more` goes into the attach message."""
    ticket = await request_ticket(broker, session_id, person, role)
    terminal = Terminal(await open_socket(ticket["socket"], broker), session_id, acks)
    await terminal.attach(ticket["ticket"], **more)
    return terminal


@asynccontextmanager
async def shell(broker: Broker, host: str, person: str = "alice", **more: Any) -> AsyncIterator[Terminal]:
    """A terminal at its prompt; on leaving, the session is ended."""
    terminal = await open_terminal(broker, host, person=person, **more)
    try:
        await terminal.until(PROMPT)
        yield terminal
    finally:
        await terminal.close()
        await asyncio.to_thread(broker.call, "DELETE", f"/api/v1/sessions/{terminal.id}", None, person)
