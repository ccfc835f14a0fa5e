"""`brokerd.web`: Daphne with the bounds that it lacks, over real sockets, with its memory looked at (traps 1, 2, 3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from tests.core.waiting import PATIENCE_S, SCALE
from tests.story.broker import until

MB = 1024 * 1024
MAX_CONNECTIONS = 20


class Program:
    """The server's process."""

    def __init__(self, *more: str) -> None:
        settings = [f"MAX_CONNECTIONS={MAX_CONNECTIONS}", *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.core.web_server", *settings],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.process.stdout.readline())

    def rss(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def get(self, path: str = "/", **headers: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return json.load(response)

    def is_open(self) -> bool:
        """Whether there is room for one more."""
        try:
            return bool(self.get())
        except OSError:
            return False

    def socket(self, path: str, **options: Any) -> Any:
        return connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, max_size=None, **options)

    def stop(self) -> dict[str, Any]:
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return json.loads(output)


@pytest.fixture(scope="module")
def shared():
    program = Program()
    program.get()
    yield program
    program.stop()


@pytest.fixture(scope="module")
def hasty():
    """One that waits for a request no longer than for a second."""
    program = Program("REQUEST_TIMEOUT_S=1")
    program.get()
    yield program
    program.stop()


@pytest.fixture
def program(shared):
    """The shared one, which must not grow by more than a little, whatever a test does to it."""
    before = shared.rss()
    yield shared
    assert shared.rss() - before < 24 * MB
    assert shared.get("/alive")["size"] == 0


def send_until_cut(connection: socket.socket, chunk: bytes, limit: int) -> int:
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < limit:
            connection.sendall(chunk)
            sent += len(chunk)
    return sent


def answer(connection: socket.socket) -> bytes:
    """What comes until the end. TimeoutError where none comes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return received


def count(connection: socket.socket) -> int:
    """How many bytes come until the end."""
    received = 0
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(2**20):
            received += len(data)
    return received


# Bodies


@pytest.mark.parametrize("path", ["/", "/api/v1/enrollments", "/no/such/page", "/ws/sessions/1"])
def test_a_body_declared_too_large_is_refused_before_it_is_read(program, path):
    with program.connect() as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {300 * MB}\r\n\r\n".encode())
        said = answer(connection)
    assert said.startswith(b"HTTP/1.1 413 ") and b"application/problem+json" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["status"] == 413
    assert program.get()["calls"].count(path) <= (path == "/") * 99


def test_a_chunked_body_is_cut_when_it_becomes_too_large(program):
    with program.connect() as connection:
        connection.sendall(b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = send_until_cut(connection, b"10000\r\n" + b"x" * 65536 + b"\r\n", 300 * MB)
        assert sent < 30 * MB
    assert "/chunked" not in program.get()["calls"]


def test_a_chunked_body_too_large_is_answered(program):
    with program.connect() as connection:
        head = b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17)
        assert answer(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_just_fits(program, chunked):
    with program.connect() as connection:
        if chunked:
            head = b"Transfer-Encoding: chunked\r\n\r\n"
            body = (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 16 + b"0\r\n\r\n"
        else:
            head, body = f"Content-Length: {MB}\r\n\r\n".encode(), b"x" * MB
        connection.sendall(b"POST /fits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + body)
        said = answer(connection)
    assert json.loads(said.partition(b"\r\n\r\n")[2])["size"] == MB


# Headers and connections


@pytest.mark.parametrize("chunk", [b"X-Flood: " + b"x" * 1000 + b"\r\n", b"x" * 65536, b"X: y\r\n" * 1000])
def test_a_flood_of_headers_is_cut(program, chunk):
    with program.connect() as connection:
        connection.sendall(b"GET /flooded HTTP/1.1\r\nHost: x\r\n")
        assert send_until_cut(connection, chunk, 300 * MB) < 30 * MB
    assert "/flooded" not in program.get()["calls"]


def test_a_client_cannot_move_the_root_of_the_site(program):
    assert program.get("/", **{"Daphne-Root-Path": "/evil"})["root_path"] == ""


def test_a_request_must_arrive_in_time(hasty):
    with hasty.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost")
        assert answer(connection) in (b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n")


@pytest.mark.parametrize(
    "head", [b"GET /drip HTTP/1.1\r\nX: ", b"POST /drip HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"]
)
def test_a_byte_now_and_then_buys_no_time(hasty, head):
    with hasty.connect() as connection:
        connection.sendall(head)
        with pytest.raises(ConnectionError):
            for _ in range(600):
                connection.sendall(b"x")
                time.sleep(0.1)
    assert "/drip" not in hasty.get()["calls"]


def test_a_response_that_nobody_reads_stays_small(program):
    with program.connect() as connection:
        connection.sendall(b"GET /stream/300 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.5 * SCALE)
        before, growth = program.rss(), 0
        for _ in range(10):
            time.sleep(0.1)
            growth = max(growth, program.rss() - before)
        assert growth < 4 * MB
        assert count(connection) > 300 * MB, "once it is read, it goes on to its end"


def test_a_response_that_is_never_read_is_cut():
    program = Program("RESPONSE_STALL_S=1")
    with program.connect() as connection:
        connection.sendall(b"GET /stream/300 HTTP/1.1\r\nHost: x\r\n\r\n")
        cut = select.poll()
        cut.register(connection, 0)  # nothing but its end
        assert cut.poll(1000 * PATIENCE_S), "it is cut although nobody reads"
        assert count(connection) < 30 * MB
    program.stop()


def test_one_source_cannot_take_every_place():
    program = Program("MAX_OF_SOURCE=5")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(program.connect())
        with program.connect() as one_more:
            assert one_more.recv(1) == b""
        elsewhere = stack.enter_context(socket.socket())
        elsewhere.bind(("127.0.0.2", 0))
        elsewhere.settimeout(PATIENCE_S)
        elsewhere.connect(("127.0.0.1", program.port))
        elsewhere.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer(elsewhere).startswith(b"HTTP/1.1 200")
    program.stop()


def test_connections_are_counted_even_if_they_say_nothing(program):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(program.connect()) for _ in range(MAX_CONNECTIONS)]
        with program.connect() as one_more:
            assert one_more.recv(1) == b"", "the connection that is too many is closed at once"
        assert len(idle) == MAX_CONNECTIONS
    until(program.is_open, "the server has seen them go")


# Websockets


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/ws/asgi/4403", 4403, "said by ASGI"),
        ("/ws/wire/4411", 4411, "said by the wire"),
        ("/ws/wire/1000", 1000, "said by the wire"),
        ("/ws/wire/1011", 1011, "said by the wire"),
    ],
)
async def test_a_close_carries_code_and_reason(program, path, code, reason):
    async with program.socket(path) as socket_:
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket_.recv(), PATIENCE_S)
        assert (socket_.close_code, socket_.close_reason) == (code, reason)


async def test_refused_before_it_is_accepted(program):
    with pytest.raises(websockets.InvalidStatus, match="403"):
        async with program.socket("/ws/refuse"):
            pass


async def test_a_message_that_is_too_large(program):
    async with program.socket("/ws/echo") as socket_:
        await socket_.send(b"x" * 65536)
        assert await socket_.recv() == b"x" * 65536
        with contextlib.suppress(websockets.ConnectionClosed):
            await socket_.send(b"x" * 65537)
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket_.recv(), PATIENCE_S)
        assert socket_.close_code in (1009, 1006)


async def test_a_client_that_never_reads_stops_the_output(program):
    """Daphne's `send` returns at once; a gigabyte to such a client took a gigabyte of memory."""
    async with program.socket("/ws/flood", max_queue=1) as socket_:
        before, growth = program.rss(), 0
        for _ in range(10):
            await asyncio.sleep(0.05)
            growth = max(growth, program.rss() - before)
        assert growth < 8 * MB
        received = 0
        while received < 20 * MB:  # once it reads, it goes on
            received += len(await asyncio.wait_for(socket_.recv(), PATIENCE_S))
        socket_.transport.abort()


async def test_an_application_that_is_busy_stops_the_input(program):
    async with program.socket("/ws/stall", write_limit=65536) as socket_:
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1 * SCALE):
                while sent < 300 * MB:
                    await socket_.send(bytes(60_000))
                    sent += 60_000
        assert sent < 30 * MB
        socket_.transport.abort()


# The end


def test_what_still_runs_is_cancelled_and_the_process_ends():
    """Daphne alone leaves a half-sent POST uncancelled, and does not tell consumers (trap 3)."""
    program = Program()
    with program.connect() as half, program.connect() as hanging, program.connect() as socket_:
        half.sendall(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        socket_.sendall(
            b"GET /ws/stall HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert socket_.recv(4096).startswith(b"HTTP/1.1 101")
        until(lambda: "/hang" in program.get()["calls"], "it is asked for")
        told = program.stop()
        assert told["cancelled"] == ["/hang", "/ws/stall"]
        assert program.process.returncode == 0
        assert sum(told["ping"]) == 70, "a browser that is gone is noticed after 70 s (trap 13)"
        assert told["websocket_timeout"] == -1, "and one that is there is not cut after a day (trap 2)"


def test_a_port_that_is_taken_is_one_clear_error():
    script = """
import asyncio, socket
from brokerd import web
from brokerd.conf import Address, ConfigError
taken = socket.create_server(("127.0.0.1", 0))
async def main():
    try:
        await web.WebServer(None).start(Address("127.0.0.1", taken.getsockname()[1]))
    except ConfigError as error:
        print(error)
web.start_reactor().run_until_complete(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot listen on 127.0.0.1:" in done.stdout and "set BROKERD_WEB_BIND" in done.stdout
