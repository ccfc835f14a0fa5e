"""A receiver: a small HTTP server on loopback that keeps what it is sent and answers as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Message:
    line: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Receiver:
    """`answers` are used one after the other, then `answer` for ever."""

    port: int = 0
    messages: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: status(204))
    connections: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?team=a"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            lines = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in lines}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.messages.append(Message(head[0], headers, body))
            await (self.answers.pop(0) if self.answers else self.answer)(writer)
        writer.close()


def status(code: int, text: str = "", **headers: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {code} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        content = text.encode()
        lines += ["Connection: close"] + ([] if code == 204 else [f"Content-Length: {len(content)}"])
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)
        await writer.drain()

    return answer


def late(seconds: float, code: int = 200) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await status(code)(writer)

    return answer


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def drip(writer: asyncio.StreamWriter) -> None:
    """A header that never ends, a byte at a time: each read succeeds."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


class Flood:
    """An answer of 1 GB."""

    def __init__(self, code: int, size: int = 1_000_000_000) -> None:
        self.code, self.size, self.written = code, size, 0

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {self.code} Whatever\r\nContent-Length: {self.size}\r\n\r\n".encode())
        while self.written < self.size:
            writer.write(b"x" * 65536)
            self.written += 65536
            await writer.drain()


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, **facts: Any) -> AsyncIterator[Receiver]:
    made = Receiver(scheme="https" if tls else "http", **facts)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await made.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", made.port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
