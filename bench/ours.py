"""Our side: a terminal of brokerd, driven as its page does (static/terminals), from the click on."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from functools import partial
from typing import Any

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

    name = "brokerd"

    def __init__(self, broker: Broker, host: str) -> None:
        self._broker = broker
        self._host = host
        self._http = http.client.HTTPConnection("127.0.0.1", broker.web_port, timeout=30)

    def click(self) -> SocketTerminal:
        """A terminal that was asked for; its prompt may still be on its way."""
        opened = self._call("POST", "/api/v1/sessions", {"host": self._host, "login": LOGIN})
        socket = WebSocket(opened["socket"], origin=self._broker.url, subprotocol=SUBPROTOCOL)
        return SocketTerminal(socket, opened["ticket"], end=partial(self._end, opened["id"]))

    def _end(self, session: str) -> None:
        self._call("DELETE", f"/api/v1/sessions/{session}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._broker.tokens[PERSON]}", "Content-Type": "application/json"}
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
    def __init__(self, socket: WebSocket, ticket: str, *, end: Callable[[], None]) -> None:
        super().__init__(socket.socket.fileno())
        self._end = end
        self._socket = socket
        self._shown = self._acked = 0
        self._tell("attach", ticket=ticket, cols=80, rows=24, output_offset=None, input_offset=None)

    def _tell(self, kind: str, **fields: Any) -> None:
        self._socket.send(TEXT, json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())

    def write(self, data: bytes) -> None:
        self._socket.send(BINARY, data)

    def read(self, limit: int = 65536) -> bytes:
        if self._shown - self._acked >= ACK_EVERY:
            self.settle()
        while True:
            if self._shown > self._acked and not self._poll.poll(0):
                self.settle()
            self.wait()
            self._socket.receive(limit)
            if data := self._take():
                self._shown += len(data)
                return data

    def settle(self) -> None:
        if self._shown > self._acked:
            self._acked = self._shown
            self._tell("ack", offset=self._acked)

    def _take(self) -> bytes:
        parts = []
        for opcode, payload in self._socket.frames():
            if opcode == BINARY:
                parts.append(payload)
            elif opcode == PING:
                self._socket.send(PONG, payload)
            elif opcode == CLOSE:
                raise TerminalEnded(payload[2:].decode())
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._end()
        self._socket.close()
