"""A third side, where `ttyd` is installed: the stock web terminal on the server, with `ssh` through the stock tunnel.

Driven as its own page does (ttyd 1.7, html/src/components/terminal/xterm): all that arrives is taken at once, and ttyd
is asked to pause while the terminal has much left to parse.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess

from bench.figures import TTYD
from bench.stock import StockTunnel
from bench.terminal import Terminal, TerminalEnded
from bench.websocket import BINARY, CLOSE, MAX_READ, PING, PONG, WebSocket
from tests.story.broker import free_port, until

INPUT, PAUSE, RESUME = b"0", b"2", b"3"
OUTPUT = ord("0")
HIGH_WATER, LOW_WATER = 1_000_000, 400_000
"""Bytes to be parsed: the page's ten and four writes of 100,000."""


class Ttyd:
    name = TTYD

    def __init__(self, port: int) -> None:
        self.port = port

    def through(self, port: int) -> Ttyd:
        return Ttyd(port)

    def click(self) -> TtydTerminal:
        return TtydTerminal(self.port)


class RunningTtyd(Ttyd):
    """`with RunningTtyd(...)`: serves while inside."""

    def __init__(self, program: str, tunnel: StockTunnel) -> None:
        super().__init__(free_port())
        # Hardly any pings: a page would answer them, we do so only while we read.
        self._command = [program, "-W", "-i", "lo", "-p", str(self.port), "-P", "3600"]
        self._command += ["ssh", "-F", tunnel.config(), "-tt", *tunnel.target]
        self._log = tunnel.folder / "ttyd.log"

    @classmethod
    def program(cls) -> str | None:
        return shutil.which("ttyd")

    def __enter__(self) -> RunningTtyd:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers, f"ttyd is up; see {self._log}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class TtydTerminal(Terminal):
    def __init__(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws"
        self._socket = WebSocket(url, origin=f"http://127.0.0.1:{port}", subprotocol="tty")
        super().__init__(self._socket.socket.fileno())
        self._unparsed = bytearray()
        self._is_paused = False
        self._socket.send(BINARY, json.dumps({"AuthToken": "", "columns": 80, "rows": 24}).encode())

    def write(self, data: bytes) -> None:
        self._socket.send(BINARY, INPUT + data)

    def wait(self) -> None:
        if not self._unparsed:
            super().wait()

    def take(self, limit: int = 65536) -> bytes:
        if self.has_something(0):
            self._socket.receive(MAX_READ)
            for opcode, payload in self._socket.frames():
                self._handle(opcode, payload)
        data = bytes(self._unparsed[:limit])
        del self._unparsed[:limit]
        self._regulate()
        return data

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == BINARY and payload[0] == OUTPUT:
            self._unparsed += payload[1:]
        elif opcode == PING:
            self._socket.send(PONG, payload)
        elif opcode == CLOSE:
            raise TerminalEnded("ttyd has closed the websocket")

    def _regulate(self) -> None:
        if not self._is_paused and len(self._unparsed) > HIGH_WATER:
            self._is_paused = True
            self._socket.send(BINARY, PAUSE)
        elif self._is_paused and len(self._unparsed) < LOW_WATER:
            self._is_paused = False
            self._socket.send(BINARY, RESUME)

    def close(self) -> None:
        self._socket.close()
