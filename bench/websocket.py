"""A lean websocket client (RFC 6455) on a blocking socket: the measuring side must not be what limits."""

from __future__ import annotations

import base64
import os
import socket
import struct
from collections.abc import Iterator
from urllib.parse import urlsplit

BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10
MAX_READ = 256 * 1024


class WebSocket:
    def __init__(self, url: str, *, origin: str, subprotocol: str) -> None:
        """Connect, and finish the opening handshake. OSError when the broker does not switch protocols."""
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {subprotocol}",
            f"Origin: {origin}",
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (got := self.socket.recv(4096)):
                break
            answer += got
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise OSError(f"no websocket: {head[:200]!r}")
        self._buffer = bytearray(rest)

    def send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        count = len(payload)
        size = bytes([0x80 | count]) if count < 126 else struct.pack("!BH", 0xFE, count)
        pad = (mask * (count // 4 + 1))[:count]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(count, "big")
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def receive(self, limit: int = MAX_READ) -> None:
        """Wait for bytes of the peer, `limit` at most, and keep them. ConnectionError when it is gone."""
        if not (got := self.socket.recv(min(limit, MAX_READ))):
            raise ConnectionError("the broker closed the websocket")
        self._buffer += got

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """The whole frames that were received, each once: opcode and payload. Servers do not mask."""
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, begin = buffer[at + 1] & 0x7F, at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                begin += width
                if len(buffer) < begin:
                    break
                size = int.from_bytes(buffer[begin - width : begin], "big")
            if len(buffer) < begin + size:
                break
            payload = bytes(memoryview(buffer)[begin : begin + size])
            opcode = buffer[at] & 0x0F
            at = begin + size
            yield opcode, payload
        del buffer[:at]

    def close(self) -> None:
        self.socket.close()

    def cut(self) -> None:
        """Leave without the closing handshakes of websocket and TCP."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
