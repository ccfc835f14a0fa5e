"""The stock side: `ssh -N -R` from the machine to a stock sshd, and `ssh -J` through it, in a pty like a person's."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import STOCK
from bench.sshd import Sshd
from bench.terminal import Terminal, TerminalEnded
from tests.story.broker import free_port, until
from tests.story.machine import LOGIN

SERVER = "bench-server"


class StockTunnel:
    """`with StockTunnel(...)`: stands while inside. `key` opens both sshds."""

    def __init__(self, folder: Path, *, server: Sshd, machine: Sshd, key: Path) -> None:
        self.folder = folder
        self.server = server
        self._machine = machine
        self._port = free_port()
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(f"{SERVER} {server.host_key}\n[localhost]:{self._port} {machine.host_key}\n")
        self._settings = (
            f"  User {LOGIN}\n  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n  LogLevel ERROR\n  ServerAliveInterval 10\n  ExitOnForwardFailure yes\n"
        )

    def config(self, port: int | None = None) -> str:
        """ssh's settings, where the server is dialled at `port`. In a file: `-J` hands its options to no other ssh."""
        port = port or self.server.port
        path = self.folder / f"ssh_config-{port}"
        if not path.exists():
            server = f"Host {SERVER}\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias {SERVER}\n"
            path.write_text(f"{server}Host *\n{self._settings}")
        return str(path)

    @property
    def target(self) -> list[str]:
        """The machine, as ssh on the server names it."""
        return ["-p", str(self._port), "localhost"]

    def __enter__(self) -> StockTunnel:
        self._agent = self.start_agent(self._port)
        until(self._answers, "the stock tunnel is up")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._agent.terminate()
        self._agent.wait(10)

    def start_agent(self, port: int) -> subprocess.Popen[bytes]:
        forward = f"{port}:127.0.0.1:{self._machine.port}"
        return subprocess.Popen(["ssh", "-F", self.config(), "-N", "-R", forward, SERVER], stdin=subprocess.DEVNULL)

    def _answers(self) -> bool:
        scan = ["ssh-keyscan", "-p", str(self._port), "127.0.0.1"]
        return bool(subprocess.run(scan, capture_output=True, check=False).stdout)


class Stock:
    name = STOCK

    def __init__(self, tunnel: StockTunnel, port: int | None = None) -> None:
        self.tunnel = tunnel
        self.port = port or tunnel.server.port
        self._config = tunnel.config(self.port)

    def through(self, port: int) -> Stock:
        return Stock(self.tunnel, port)

    def click(self) -> PtyTerminal:
        return PtyTerminal(["ssh", "-F", self._config, "-tt", "-J", SERVER, *self.tunnel.target])

    @contextmanager
    def master(self) -> Iterator[MasteredStock]:
        """ssh's own way to use a host in use: with a master connection (ControlMaster), which is up while inside."""
        socket = self.tunnel.folder / "master"
        options = ["-F", self._config, "-S", str(socket)]
        master = subprocess.Popen(
            ["ssh", *options, "-N", "-M", "-J", SERVER, *self.tunnel.target], stdin=subprocess.DEVNULL
        )
        try:
            until(socket.exists, "the master connection is up")
            yield MasteredStock(["ssh", *options, "-tt", *self.tunnel.target])
        finally:
            subprocess.run(["ssh", *options, "-O", "exit", *self.tunnel.target], stderr=subprocess.DEVNULL, check=False)
            master.wait(10)


class MasteredStock:
    name = STOCK

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def click(self) -> PtyTerminal:
        return PtyTerminal(self._command)


class PtyTerminal(Terminal):
    def __init__(self, command: list[str]) -> None:
        fd, inner = pty.openpty()
        # A session of its own, with the pty as its terminal: the client reads its size and obeys its signals.
        self._process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(inner)
        super().__init__(fd)

    def write(self, data: bytes) -> None:
        os.write(self.fd, data)

    def take(self, limit: int = 65536) -> bytes:
        try:
            data = os.read(self.fd, limit)
        except OSError as error:  # EIO: nobody holds the other side of the pty any more
            raise TerminalEnded("ssh has ended") from error
        if not data:
            raise TerminalEnded("ssh has ended")
        return data

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)  # with the ssh that `-J` has started
        self._process.wait(10)
        os.close(self.fd)
