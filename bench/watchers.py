"""What watchers cost the driver: echo and throughput of a terminal that many watch, beside one that nobody does.

The watchers are one process, which acknowledges what it gets as pages do. It takes its share of this machine's cores,
as browsers elsewhere would not: each ratio is at the worst what it says.
"""

from __future__ import annotations

import json
import multiprocessing
import selectors
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from bench.bulk import MB, fetch, make
from bench.echo import ECHO, type_keys
from bench.effort import Effort
from bench.figures import OURS, Figure, percentile
from bench.ours import PERSON, SUBPROTOCOL
from bench.stage import HOST, Stage
from bench.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket
from tests.story.broker import Broker
from tests.story.machine import LOGIN

OF_ADDRESS = 10
"""Guests that come from one address: it may not ask for more at once."""

_fork = multiprocessing.get_context("fork")


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    """Each value is that of the watched terminal, divided by that of the other one in the same round."""
    crowd = f"{effort.watchers} watchers / without"
    middle, slow = (
        Figure(f"echo p{percent}, {crowd}", "x", "1.5x", most=1.5, is_absolute=True) for percent in (50, 99)
    )
    bulk = Figure(f"{effort.file_mb} MB file, time, {crowd}", "x", "1.5x", most=1.5, is_absolute=True)
    path = stage.folder / "watched"
    digest = make(path, effort.file_mb)
    stage.broker.api("POST", "/grants", _RIGHTS, status=201)
    with closing(stage.ours.click()) as alone, closing(stage.ours.click()) as watched:
        for terminal in (alone, watched):
            terminal.prepare()
        newest = stage.broker.api("GET", "/sessions?live=1&limit=1", person=PERSON)["items"][0]["id"]
        with _watched(stage.broker, newest, effort.watchers):
            for _ in range(effort.file_blocks):
                seconds = [fetch(terminal, path, effort.file_mb * MB, digest) for terminal in (watched, alone)]
                bulk.add(OURS, seconds[0] / seconds[1])
            for terminal in (alone, watched):
                terminal.run(ECHO)
                type_keys(terminal, 50)
            for _ in range(effort.echo_blocks):
                echoes = [type_keys(terminal, effort.keys) for terminal in (watched, alone)]
                middle.add(OURS, percentile(echoes[0], 50) / percentile(echoes[1], 50))
                slow.add(OURS, percentile(echoes[0], 99) / percentile(echoes[1], 99))
    return [middle, slow, bulk]


_RIGHTS = {"person": PERSON, "host": HOST, "logins": [LOGIN], "capabilities": ["share"]}


@contextmanager
def _watched(broker: Broker, session: str, count: int) -> Iterator[None]:
    """So many guests look at the terminal, while inside."""
    sockets = [_join(broker, ticket) for ticket in _tickets(broker, session, count)]
    reader = _fork.Process(target=_read, args=(sockets,), daemon=True)
    reader.start()
    try:
        yield
    finally:
        reader.terminate()
        reader.join(10)
        for socket in sockets:
            socket.close()


def _tickets(broker: Broker, session: str, count: int) -> Iterator[dict[str, Any]]:
    """Each guest asks, is admitted, and gets one."""
    url = broker.api("POST", f"/sessions/{session}/shares", {"guests": True}, PERSON, 201)["url"]
    for number in range(count):
        source = f"127.0.0.{2 + number // OF_ADDRESS}"

        def call(path: str, body: dict[str, Any], source: str = source) -> dict[str, Any]:
            answer = broker.call("POST", f"/api/v1{path}", body, source=source)
            if answer.status != 200:
                raise OSError(f"{path}: {answer.status} {answer.body!r}")
            return dict(answer.json)

        asked = call("/shares/ask", {"secret": url.partition("#")[2], "name": f"guest {number}"})
        broker.api("POST", f"/sessions/{session}/asks/{asked['ask']}", {"admit": True}, PERSON, 204)
        heard = call(f"/shares/asks/{asked['ask']}", {"key": asked["key"]})
        yield call(f"/sessions/{session}/tickets", {"role": "watcher", "admission": heard["admission"]})


def _join(broker: Broker, ticket: dict[str, Any]) -> WebSocket:
    socket = WebSocket(ticket["socket"], origin=broker.url, subprotocol=SUBPROTOCOL)
    fields = {"type": "attach", "ticket": ticket["ticket"], "cols": 80, "rows": 24}
    socket.send(TEXT, json.dumps(fields).encode())
    return socket


def _read(sockets: list[WebSocket]) -> None:
    """The child: acknowledge everything at once, for as long as it lives."""
    shown = dict.fromkeys(sockets, 0)
    with selectors.DefaultSelector() as selector:
        for socket in sockets:
            selector.register(socket.socket, selectors.EVENT_READ, socket)
        while True:
            for key, _ in selector.select():
                socket = key.data
                socket.receive()
                before = shown[socket]
                for opcode, payload in socket.frames():
                    shown[socket] = _take(socket, shown[socket], opcode, payload)
                if shown[socket] > before:
                    socket.send(TEXT, json.dumps({"type": "ack", "offset": shown[socket]}).encode())


def _take(socket: WebSocket, shown: int, opcode: int, payload: bytes) -> int:
    """Where the output goes on after this frame."""
    if opcode == BINARY:
        return shown + len(payload)
    if opcode == PING:
        socket.send(PONG, payload)
    elif opcode == CLOSE:
        raise ConnectionError(f"a watcher was closed: {payload!r}")
    elif opcode == TEXT:
        message = json.loads(payload)
        if message["type"] == "attached":
            return int(message["output_offset"])
        if message["type"] == "gap" and message["from"] == shown:
            return int(message["to"])
    return shown
