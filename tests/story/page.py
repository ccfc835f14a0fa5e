"""One terminal over as many websockets as it takes, with the offsets kept as the page keeps them.

Written from docs/architecture.md, not from the page's own code: what both got wrong alike would not be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from tests.story.broker import SCALE, Broker
from tests.story.machine import PROMPT
from tests.story.terminal import INPUT_AHEAD, INPUT_STEP, open_socket, request_session, request_ticket
from tests.story.way import Fate, Way, way_to

INTERRUPT = b"\x03"
LOST = 1006
"""Close code of a connection that ended without a word."""


class Page:
    """`rate`: bytes in a second that its emulator parses; None: all at once."""

    def __init__(self, broker: Broker, way: Way, session: str, ticket: dict[str, Any]) -> None:
        self.id = session
        self.rate: float | None = None
        self.fates: deque[Fate] = deque()
        """Of the connections to come; later ones hold."""
        self.connections = 0
        self.typed = bytearray()
        """The whole input, from its first byte on."""
        self.input_acked = 0
        self.offset = 0
        """The next output byte."""
        self.pieces: list[tuple[int, bytearray]] = [(0, bytearray())]
        """The output, each piece with its offset: one, and one more behind each gap."""
        self.messages: list[dict[str, Any]] = []
        self._broker = broker
        self._way = way
        self._ticket: dict[str, Any] | None = ticket
        self._interrupts: set[int] = set()
        """Offsets of those that were not sent yet: sent again, they are bytes like any other."""
        self._left: list[ClientConnection] = []
        self._broken = asyncio.Event()
        self._ready_at = 0.0
        self._news = asyncio.Condition()
        self._life = asyncio.create_task(self._live())

    @property
    def output(self) -> bytearray:
        """Everything since the newest gap."""
        return self.pieces[-1][1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    async def type(self, data: bytes) -> None:
        self.typed += data
        await self._tell_news()

    async def interrupt(self) -> None:
        """^C, by a message of its own."""
        self._interrupts.add(len(self.typed))
        await self.type(INTERRUPT)

    def leave(self) -> None:
        """Give this connection up for the next one; the broker is not told."""
        self._broken.set()

    async def run(self, command: str) -> None:
        await self.type(command.encode() + b"\r")

    async def until(self, text: bytes, seconds: float = 30) -> None:
        await self.wait(lambda: text in self.output, f"{text!r} is shown", seconds)

    async def wait(self, probe: Callable[[], object], what: str, seconds: float = 30) -> None:
        """Until `probe` is true; looked at whenever something happens."""
        try:
            async with asyncio.timeout(seconds * SCALE), self._news:
                while not probe():
                    assert not self._life.done(), f"it has ended before {what}; {self._state()}"
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {what}; {self._state()}") from None

    async def close(self) -> None:
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life

    def _state(self) -> str:
        figures = {name: getattr(self, name) for name in ("offset", "input_acked", "connections")}
        return f"{figures}, typed {len(self.typed)}, {self.messages[-4:]}, {bytes(self.output[-200:])!r}"

    async def _tell_news(self) -> None:
        async with self._news:
            self._news.notify_all()

    # Its connections

    async def _live(self) -> None:
        """Connect again and again, until the terminal is over."""
        try:
            is_over = False
            while not is_over:
                is_over = await self._connect()
                await self._tell_news()
        finally:
            for socket in self._left:
                socket.transport.abort()

    async def _connect(self) -> bool:
        """One connection, until it is lost. Whether the terminal is over."""
        ticket = self._ticket or await request_ticket(self._broker, self.id)
        self._ticket = None
        self._broken = self._way.expect(self.fates.popleft() if self.fates else None)
        broken = asyncio.create_task(self._broken.wait())
        talk = asyncio.create_task(self._talk(ticket))
        try:
            await asyncio.wait({talk, broken}, return_when=asyncio.FIRST_COMPLETED)
            return talk.result() if talk.done() else False
        finally:
            talk.cancel()
            broken.cancel()
            await asyncio.wait({talk, broken})

    async def _talk(self, ticket: dict[str, Any]) -> bool:
        with contextlib.suppress(OSError, EOFError, websockets.WebSocketException):
            socket = await open_socket(
                ticket["socket"], self._broker, host="127.0.0.1", port=self._way.port, ping_interval=None
            )
            # Not closed where its way is broken: the broker is to find out by itself.
            self._left.append(socket)
            attach = {"cols": 80, "rows": 24, "output_offset": self.offset, "input_offset": self.input_acked}
            await socket.send(json.dumps({"type": "attach", "ticket": ticket["ticket"], **attach}))
            writer: asyncio.Task[None] | None = None
            try:
                async for message in socket:
                    await self._take(socket, message)
                    writer = writer or asyncio.create_task(self._write(socket))
            finally:
                if writer:
                    writer.cancel()
                    await asyncio.wait({writer})
            assert socket.close_code in (LOST, 1000), (socket.close_code, socket.close_reason)
            return socket.close_code == 1000
        return False

    async def _take(self, socket: ClientConnection, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.output.extend(message)
            self.offset += len(message)
            await self._parse(len(message))
            with contextlib.suppress(websockets.ConnectionClosed):  # what came before the end is still to be read
                await socket.send(json.dumps({"type": "ack", "offset": self.offset}))
        else:
            await self._take_control(json.loads(message))
        await self._tell_news()

    async def _parse(self, count: int) -> None:
        if self.rate is not None:
            now = asyncio.get_running_loop().time()
            self._ready_at = max(now, self._ready_at) + count / self.rate
            await asyncio.sleep(self._ready_at - now)

    async def _take_control(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        match message["type"]:
            case "attached":
                self.connections += 1
                assert message["output_offset"] == self.offset, message
                assert self.input_acked <= message["input_offset"] <= len(self.typed), message
                self.input_acked = message["input_offset"]
                await self._way.deliver_late()
            case "input_ack":
                self.input_acked = message["offset"]
            case "gap":
                assert message["from"] == self.offset, message
                self.offset = message["to"]
                self.pieces.append((self.offset, bytearray()))

    async def _write(self, socket: ClientConnection) -> None:
        sent = self.input_acked
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                async with self._news:
                    while sent == len(self.typed) or sent - self.input_acked >= INPUT_AHEAD:
                        await self._news.wait()
                if sent in self._interrupts:
                    self._interrupts.discard(sent)
                    sent += 1
                    await socket.send(json.dumps({"type": "interrupt"}))
                    continue
                following = min((at for at in self._interrupts if at > sent), default=len(self.typed))
                end = min(following, sent + INPUT_STEP, self.input_acked + INPUT_AHEAD)
                data, sent = bytes(self.typed[sent:end]), end
                await socket.send(data)


@asynccontextmanager
async def page(broker: Broker, host: str, person: str = "alice") -> AsyncIterator[Page]:
    """A terminal at its prompt; on leaving, the session is ended."""
    opened = await request_session(broker, host, person=person)
    async with way_to(broker.web_port) as way:
        made = Page(broker, way, opened["id"], opened)
        try:
            await made.until(PROMPT)
            yield made
        finally:
            await made.close()
            await asyncio.to_thread(broker.call, "DELETE", f"/api/v1/sessions/{made.id}", None, person)
