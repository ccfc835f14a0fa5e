"""A websocket client without manners, on a bare socket: it reads only when told to, and sends what it likes."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.story.broker import SCALE, Broker
from tests.story.terminal import SUBPROTOCOL

TEXT, BINARY, PING = 1, 2, 9


class Rude:
    def __init__(self, broker: Broker, session: str) -> None:
        # A small receive buffer, set before connecting: what is not read stays in the broker's hands.
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(20 * SCALE)
        self.socket.connect(("127.0.0.1", broker.web_port))
        self._upgrade(broker, session)

    def _upgrade(self, broker: Broker, session: str) -> None:
        headers = {
            "Host": f"127.0.0.1:{broker.web_port}",
            "Origin": broker.url,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": b64encode(bytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": SUBPROTOCOL,
        }
        lines = [f"GET /ws/sessions/{session} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        assert b" 101 " in self.socket.recv(4096)

    def frame(self, opcode: int, payload: bytes) -> None:
        self.frames(opcode, payload, 1)

    def frames(self, opcode: int, payload: bytes, times: int) -> None:
        """Masked with zeros, which changes nothing. OSError once the broker has cut the connection."""
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.socket.sendall((bytes([0x80 | opcode]) + length + bytes(4) + payload) * times)

    def control(self, kind: str, **fields: Any) -> None:
        self.frame(TEXT, json.dumps({"type": kind, **fields}).encode())

    def attach(self, ticket: str) -> None:
        self.control("attach", ticket=ticket, cols=80, rows=24, output_offset=None, input_offset=None)

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        received = bytearray()
        try:
            while data := self.socket.recv(65536):
                received += data
        except ConnectionError:
            pass
        return bytes(received)


@contextmanager
def rude(broker: Broker, session: str) -> Iterator[Rude]:
    client = Rude(broker, session)
    try:
        yield client
    finally:
        client.socket.close()
