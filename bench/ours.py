"""Our side: a terminal of brokerd, driven as its page does (static/terminals), from the click on."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.figures import OURS
from bench.terminal import Terminal, TerminalEnded
from bench.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket
from tests.story.broker import Broker
from tests.story.machine import LOGIN

SUBPROTOCOL = "brokerd.terminal.v1"
ACK_EVERY = 16 * 1024
"""As static/terminals/flow.js: parsed bytes that are worth an acknowledgement while more is coming."""
PERSON = "alice"


class Ours:
    """Opens terminals of one host; holds the HTTP connection that a browser would keep alive."""

    name = OURS

    def __init__(self, broker: Broker, host: str, *, person: str = PERSON, port: int | None = None) -> None:
        self._broker = broker
        self._host = host
        self.person = person
        self.port = port or broker.web_port
        self._http = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def through(self, port: int) -> Ours:
        return Ours(self._broker, self._host, person=self.person, port=port)

    def of(self, person: str) -> Ours:
        """The same, for somebody else, with a connection of their own."""
        return Ours(self._broker, self._host, person=person, port=self.port)

    def click(self) -> SocketTerminal:
        opened = self._call("POST", "/api/v1/sessions", {"host": self._host, "login": LOGIN})
        path = f"/api/v1/sessions/{opened['id']}"
        dial = partial(WebSocket, opened["socket"], origin=self._broker.url, subprotocol=SUBPROTOCOL)
        return SocketTerminal(
            dial,
            opened["ticket"],
            renew=lambda: self._call("POST", f"{path}/tickets", {"role": "driver"})["ticket"],
            end=lambda: self._call("DELETE", path),
        )

    def hang_up(self) -> None:
        """Drop the HTTP connection, as a changed network does; the next call makes a new one."""
        self._http.close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._broker.tokens[self.person]}", "Content-Type": "application/json"}
        try:
            self._http.request(method, path, json.dumps(body), headers)
            answer = self._http.getresponse()
        except ConnectionError:  # it was idle for too long
            self._http.close()
            self._http.request(method, path, json.dumps(body), headers)
            answer = self._http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else None


class SocketTerminal(Terminal):
    """Counts both byte streams by absolute offset, so that it can be cut and attached again."""

    def __init__(
        self, dial: Callable[[], WebSocket], ticket: str, *, renew: Callable[[], str], end: Callable[[], object]
    ) -> None:
        self._dial = dial
        self._renew = renew
        self._end = end
        self._shown = self._acked = 0
        self._ack_every = ACK_EVERY
        self._typed_acked = 0
        self._unacked = bytearray()
        """Typed after that."""
        self._is_attached = False
        self._pongs = 0
        self._attach(ticket)

    def _attach(self, ticket: str) -> None:
        self._socket = self._dial()
        self._listen(self._socket.socket.fileno())
        self._tell("attach", ticket=ticket, cols=80, rows=24, output_offset=self._shown, input_offset=self._typed_acked)

    def cut(self) -> None:
        """The network goes, without a word to either side."""
        self._socket.cut()
        self._is_attached = False

    def resume(self) -> None:
        """Attach again, by a new ticket; what is missing is read as usual, and what was lost is typed again."""
        self._attach(self._renew())

    def round_trip(self) -> float:
        """Milliseconds from a ping of the page to its answer."""
        begun, before = time.perf_counter(), self._pongs
        self._tell("ping", t=begun)
        while self._pongs == before:
            self.wait()
            self.take()
        return (time.perf_counter() - begun) * 1000

    def _tell(self, kind: str, **fields: Any) -> None:
        self._socket.send(TEXT, json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())

    def write(self, data: bytes) -> None:
        self._unacked += data
        if self._is_attached:  # else it goes out with the broker's answer
            self._socket.send(BINARY, data)

    def interrupt(self) -> None:
        self._unacked += b"\x03"  # it counts as that byte of the input
        self._tell("interrupt")

    def wait(self) -> None:
        behind = self._shown - self._acked
        if behind >= self._ack_every or (behind and not self.has_something(0)):
            self.settle()
        super().wait()

    def take(self, limit: int = 65536) -> bytes:
        self._socket.receive(limit)
        parts = [data for opcode, payload in self._socket.frames() if (data := self._handle(opcode, payload))]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def settle(self) -> None:
        if self._shown > self._acked:
            self._acked = self._shown
            self._tell("ack", offset=self._acked)

    def _handle(self, opcode: int, payload: bytes) -> bytes:
        """Output bytes, where the frame has some."""
        if opcode == BINARY:
            self._shown += len(payload)
            return payload
        if opcode == TEXT:
            self._hear(json.loads(payload))
        elif opcode == PING:
            self._socket.send(PONG, payload)
        elif opcode == CLOSE:
            raise TerminalEnded(payload[2:].decode())
        return b""

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "attached":
                self._is_attached = True
                self._shown = self._acked = message["output_offset"]
                self._ack_every = max(1, min(ACK_EVERY, message["window"] // 4))
                self._forget_typed(message["input_offset"])
                if self._unacked:
                    self._socket.send(BINARY, bytes(self._unacked))
            case "gap":
                self._shown = max(self._shown, message["to"])
            case "input_ack":
                self._forget_typed(message["offset"])
            case "pong":
                self._pongs += 1

    def _forget_typed(self, offset: int) -> None:
        del self._unacked[: offset - self._typed_acked]
        self._typed_acked = offset

    def close(self) -> None:
        self._end()
        self._socket.close()
