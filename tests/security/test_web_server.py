"""The web server's doors, attacked: by bodies, by silence, by not reading, by too much of everything, and by its end.

Against the real broker; `tests/core/test_web.py` tries the server alone, with other limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from brokerd.web import MAX_OF_SOURCE
from tests.security import days
from tests.story.broker import SCALE, Broker, copy_of_template, running, until
from tests.story.browser import Browser
from tests.story.machine import Machine, machine, terminal_grant
from tests.story.routes import all_routes
from tests.story.rude import TEXT, rude
from tests.story.terminal import Terminal, open_socket, open_terminal, request_session, shell

MB = 1024 * 1024
ROWS = 20_000
"""Audit events and sessions, a kilobyte each."""
RECORDED_MB = 40
SEED = f"""
import uuid
from terminals.people import find_person
from tests.people.helpers import make_host
from tests.replay.helpers import record
web0 = make_host("web0")
session = record(
    find_person("alice"), web0, ((i / 10, "o", "x" * 65536) for i in range({16 * RECORDED_MB})), indexed=False,
    frame_size=262144,
)
print("session", session.pk)
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, str]]:
    """A broker with much to tell, and the session whose recording is large."""
    broker = copy_of_template(tmp_path_factory.mktemp("full") / "data")
    session = broker.do(SEED).split()[-1]
    with contextlib.closing(sqlite3.connect(broker.data_dir / "brokerd.sqlite3")) as database:
        copy_rows(database, "tunnels_auditevent", detail=json.dumps({"reason": "y" * 500}))
        copy_rows(database, "terminals_session", stated_reason="z" * 200, reason="z" * 200)
        database.commit()
    broker.start()
    yield broker, session
    broker.stop()


def copy_rows(database: sqlite3.Connection, table: str, **changes: str) -> None:
    """The table's newest row many times over, changed. The chain of the audit log is not what is tried here."""
    database.row_factory = sqlite3.Row
    row = {**database.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone(), **changes}
    rows = [
        {**row, "id": uuid4().hex, **({"sequence": row["sequence"] + number} if "sequence" in row else {})}
        for number in range(1, ROWS)
    ]
    names = ", ".join(f":{name}" for name in row)
    database.executemany(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({names})", rows)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("doors") / "data") as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def web1(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machines"), "web1", broker) as made:
        made.bring_up(terminal_grant())
        yield made


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("days") / "data", "-m", days.__name__) as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def day1(hurried: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machines"), "day1", hurried) as made:
        made.bring_up(terminal_grant())
        yield made


@contextmanager
def growth(broker: Broker) -> Iterator[Callable[[], int]]:
    """How much larger the process has been at most since, bytes."""
    before = most = broker.rss()
    over = threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, broker.rss())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield lambda: max(most, broker.rss()) - before
    finally:
        over.set()
        watcher.join()


def dial(broker: Broker, *, source: str = "127.0.0.1", buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(20 * SCALE)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", broker.web_port))
    return connection


def head(broker: Broker, method: str, path: str, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{broker.web_port}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def answer(connection: socket.socket, most: int = 2**40) -> bytes:
    """Up to the end of the connection, or `most` bytes."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(received) < most and (data := connection.recv(MB)):
            received += data
    return bytes(received)


def send_until_cut(connection: socket.socket, chunk: bytes, limit: int) -> int:
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < limit:
            connection.sendall(chunk)
            sent += len(chunk)
    return sent


# Answers that nobody reads


@pytest.mark.parametrize("what", ["recording", "audit as JSON lines", "audit as CSV", "sessions as CSV"])
def test_an_answer_that_nobody_reads(full: tuple[Broker, str], what: str):
    """4 MB at most, however much there is; and once it is read it is whole. Three ask, so that what one more thread
    keeps for ever does not count as theirs."""
    broker, session = full
    token, login = f"Bearer {broker.tokens['auditor']}", Browser(broker).log_in("auditor").cookie
    path, headers = {
        "recording": (f"/api/v1/sessions/{session}/recording", {"Authorization": token}),
        "audit as JSON lines": ("/api/v1/audit", {"Authorization": token, "Accept": "application/x-ndjson"}),
        "audit as CSV": ("/audit/export.csv", {"Cookie": login}),
        "sessions as CSV": ("/sessions/export.csv", {"Cookie": login}),
    }[what]
    request = head(broker, "GET", path, Connection="close", **headers)
    with dial(broker) as warm:  # as it is after the first one
        warm.sendall(request)
        whole = len(answer(warm))
    assert whole > 10 * MB
    with growth(broker) as grown, ExitStack() as stack:
        crowd = [stack.enter_context(dial(broker, buffer=4096)) for _ in range(3)]
        for connection in crowd:
            connection.sendall(request)
        time.sleep(3 * SCALE)
        assert grown() < len(crowd) * 4 * MB
        received = answer(crowd[-1])
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n0\r\n\r\n")
    assert abs(len(received) - whole) < 10_000, "but for the events of the exports themselves"


def test_a_crowd_that_reads_no_file(broker: Broker):
    """Strangers, each of whom asks for the largest file and takes nothing of it: no file stays in memory."""
    files = Path(__file__).parents[2] / "staticfiles"
    largest = max((path for path in files.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    path = f"/static/{largest.relative_to(files)}"
    size = largest.stat().st_size
    request = head(broker, "GET", path, Connection="close")
    with dial(broker) as warm:
        warm.sendall(request)
        assert len(answer(warm)) > size > 2 * MB
    with growth(broker) as grown, ExitStack() as stack:
        crowd = [stack.enter_context(dial(broker, buffer=4096)) for _ in range(60)]
        for connection in crowd:
            connection.sendall(request)
        time.sleep(3 * SCALE)
        assert grown() < 60 * 0.4 * MB
        assert len(answer(crowd[0])) > size, "who reads after all gets it whole"


# Bodies


def paths() -> list[str]:
    """Every route, with something in the place of its parameters."""
    words = {"uuid": "00000000-0000-4000-8000-000000000000", "int": "1"}
    routes = {re.sub(r"\^\(\?P<[^)]*\)/\$", "tunnels/", route) for _, route in all_routes()}
    routes = {route.replace("(?P<url>.*)$", "x") for route in routes}
    filled = {re.sub(r"<(\w+):\w+>", lambda found: words.get(found[1], "x"), route) for route in routes}
    return sorted("/" + re.sub(r"\{\w+\}|<\w+>", words["uuid"], route) for route in filled)


def test_300_mb_posted_anywhere(broker: Broker):
    """To each route, logged in or not, declared or in chunks: refused before it is read, and kept nowhere."""
    login = Browser(broker).log_in("admin")
    everywhere = [*paths(), "/no/such/page", "/static/x", "/ws/sessions/1"]
    assert len(everywhere) > 100
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with growth(broker) as grown:
        for path in everywhere:
            for more in ({}, {"Cookie": login.cookie}):
                with dial(broker) as connection:
                    connection.sendall(head(broker, "POST", path, **more, **{"Content-Length": str(300 * MB)}))
                    assert answer(connection).startswith(b"HTTP/1.1 413 "), path
                with dial(broker) as connection:
                    connection.sendall(head(broker, "POST", path, **more, **{"Transfer-Encoding": "chunked"}))
                    connection.sendall(chunk * 16 + b"1\r\nx\r\n")
                    assert answer(connection).startswith(b"HTTP/1.1 413 "), path
        assert grown() < 10 * MB


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE", "NONSENSE"])
@pytest.mark.parametrize("framing", [{"Content-Length": str(300 * MB)}, {"Transfer-Encoding": "chunked"}])
def test_300_mb_sent_all_the_same(broker: Broker, method: str, framing: dict[str, str]):
    """By who does not wait for an answer, whatever the method."""
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with growth(broker) as grown, dial(broker) as connection:
        connection.sendall(head(broker, method, "/api/v1/enrollments", **framing))
        assert send_until_cut(connection, chunk, 300 * MB) < 50 * MB
        assert grown() < 10 * MB


def test_many_bodies_that_just_fit_and_never_end(broker: Broker):
    """What waits for its last byte waits on the disk."""
    with growth(broker) as grown, ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(dial(broker))
            connection.sendall(head(broker, "POST", "/api/v1/enrollments", **{"Content-Length": str(MB)}))
            connection.sendall(b"x" * (MB - 1))
        time.sleep(1)
        assert broker.call("GET", "/healthz").status == 200
        assert grown() < 10 * MB


# Headers, connections, messages


@pytest.mark.parametrize(
    "chunk",
    [b"X-Flood: " + b"x" * 1000 + b"\r\n", b"x" * 65536, b"X: y\r\n" * 1000],
    ids=["many bytes", "one without end", "many of them"],
)
def test_headers_without_end(broker: Broker, chunk: bytes):
    with growth(broker) as grown, dial(broker) as connection:
        connection.sendall(b"GET /login/ HTTP/1.1\r\nHost: x\r\n")
        assert send_until_cut(connection, chunk, 300 * MB) < 50 * MB
        assert grown() < 4 * MB


def test_a_request_line_without_end(broker: Broker):
    with growth(broker) as grown, dial(broker) as connection:
        connection.sendall(b"GET /")
        assert send_until_cut(connection, b"x" * 65536, 300 * MB) < 50 * MB
        assert grown() < 4 * MB


def test_no_header_moves_the_site_or_names_another(broker: Broker):
    """Of Daphne, of proxies that we do not trust, and of Host."""
    for headers in ({"Daphne-Root-Path": "/evil"}, {"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil"}):
        told = broker.call("GET", "/login/", **headers)
        assert told.status == 200 and b"evil" not in told.body
    for host in ("evil.example", "127.0.0.1.evil.example", f"evil.example:{broker.web_port}", "127.0.0.1@evil", ""):
        assert broker.call("GET", "/login/", Host=host).status == 400, host
    assert "Traceback" not in broker.log.read_text(), "nor does it fill the log"


def test_one_source_takes_not_every_place(broker: Broker):
    with growth(broker) as grown, ExitStack() as stack:
        for _ in range(MAX_OF_SOURCE):
            stack.enter_context(dial(broker, source="127.0.0.9"))
        until(lambda: not is_taken(broker), "one more is closed at once, when the last of them was accepted")
        assert broker.call("GET", "/login/").status == 200, "and others come in"
        assert grown() < 40 * MB


def is_taken(broker: Broker) -> bool:
    with dial(broker, source="127.0.0.9") as connection:
        connection.settimeout(2)
        try:
            return connection.recv(1) != b""
        except TimeoutError:
            return True
        except ConnectionError:
            return False


@pytest.mark.sshd
async def test_messages_that_are_too_large(broker: Broker, web1: Machine):
    """Whole, or in parts without end; said to a terminal that goes on."""
    async with shell(broker, "web1") as terminal:
        ticket = await asyncio.to_thread(broker.api, "POST", f"/sessions/{terminal.id}/tickets", {}, "alice")
        other = Terminal(await open_socket(ticket["socket"], broker))
        await other.send(b"x" * (64 * 1024 + 1))
        assert await other.closed() in (1006, 1009)
        with growth(broker) as grown, rude(broker, terminal.id) as client:
            part = bytes([TEXT]) + b"\xfe" + (32_768).to_bytes(2, "big") + bytes(4) + b"x" * 32_768
            more = b"\x00" + part[1:]
            client.socket.sendall(part)
            assert await asyncio.to_thread(send_until_cut, client.socket, more, 300 * MB) < 50 * MB
            assert grown() < 4 * MB
        await terminal.ping()


@pytest.mark.sshd
async def test_messages_without_end_before_a_ticket(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        with growth(broker) as grown, rude(broker, terminal.id) as client:
            await asyncio.to_thread(pour, client.frames)
            assert grown() < 4 * MB
        await terminal.ping()


def pour(frames: Callable[[int, bytes, int], None]) -> None:
    with contextlib.suppress(OSError):
        for _ in range(500):
            frames(TEXT, b'{"type":"ping","t":1}' + b" " * 1000, 100)


# Time


@pytest.mark.parametrize(
    "beginning",
    [b"GET / HTTP/1.1\r\nX: ", b"GET /", b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n", b""],
    ids=["headers", "request line", "body", "nothing"],
)
def test_a_byte_now_and_then(hurried: Broker, beginning: bytes):
    """A whole request must be there within 30 s (here 2): the bytes would come for longer."""
    begun = time.monotonic()
    with dial(hurried) as connection:
        connection.sendall(beginning)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 40 * SCALE:
                connection.sendall(b"x" if beginning else b"")
                time.sleep(0.2)
                if not beginning and answer(connection, 1) == b"":
                    break
    assert time.monotonic() - begun < 20 * SCALE


@pytest.mark.sshd
async def test_a_terminal_of_many_days(hurried: Broker, day1: Machine):
    """Daphne would cut it after one; and neither does the time that a request has count for it."""
    async with shell(hurried, "day1") as terminal:
        begun = time.monotonic()
        while time.monotonic() - begun < 2 * days.REQUEST_TIMEOUT_S:
            await terminal.ping()
            await asyncio.sleep(0.5)
        await terminal.run("echo $((6 * 7)) days")
        await terminal.until(b"42 days")


# The end


@pytest.mark.sshd
async def test_stopped_with_half_a_request_and_terminals(broker: Broker, web1: Machine):
    """SIGTERM: each terminal is told why and when to come back, each recording is sealed, and the process ends."""
    with ExitStack() as stack:
        for beginning in (b"GET / HT", b"POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nx"):
            stack.enter_context(dial(broker)).sendall(beginning)
        unread = stack.enter_context(dial(broker, buffer=4096))
        token = f"Bearer {broker.tokens['auditor']}"
        unread.sendall(head(broker, "GET", "/api/v1/audit", Authorization=token, Accept="application/x-ndjson"))
        terminals = [await open_terminal(broker, "web1") for _ in range(3)]
        await terminals[0].run("yes")
        await terminals[0].wait(lambda: len(terminals[0].output) > 200_000, "a flood")
        without = await request_session(broker, "web1")
        assert broker.process
        broker.process.send_signal(signal.SIGTERM)
        for terminal in terminals:
            assert await terminal.closed() == 4503
            assert terminal.messages[-1] == {"type": "closing", "reason": "the broker is stopping", "retry_after": 5}
        assert await asyncio.to_thread(broker.process.wait, 30 * SCALE) == 0
    assert "Traceback" not in broker.log.read_text()
    broker.start()
    web1.start_agent()
    for session in [*(terminal.id for terminal in terminals), without["id"]]:
        row = broker.session(session)
        assert (row["state"], row["recording"]["state"]) == ("ended", "sealed")
        assert len(row["recording"]["sha256"]) == 64
    assert broker.manage("verify_audit", "--recordings").returncode == 0
