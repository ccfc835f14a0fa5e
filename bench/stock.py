"""The stock side: `ssh -N -R` from the machine to a stock sshd, and `ssh -J` through it, in a pty like a person's."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

from bench.sshd import Sshd
from bench.terminal import Terminal, TerminalEnded
from tests.story.broker import free_port, until
from tests.story.machine import LOGIN

SERVER = "bench-server"


class Stock:
    """`with Stock(...)`: the tunnel stands while inside. `key` opens both sshds."""

    name = "ssh -J"

    def __init__(self, folder: Path, *, server: Sshd, machine: Sshd, key: Path) -> None:
        self._machine = machine
        self._port = free_port()
        self._config = folder / "ssh_config"
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(
            f"[127.0.0.1]:{server.port} {server.host_key}\n[localhost]:{self._port} {machine.host_key}\n"
        )
        # In a file, because `-J` hands its own options to no other ssh.
        self._config.write_text(
            f"Host {SERVER}\n  HostName 127.0.0.1\n  Port {server.port}\n"
            f"Host *\n  User {LOGIN}\n  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n  LogLevel ERROR\n  ServerAliveInterval 10\n  ExitOnForwardFailure yes\n"
        )

    def __enter__(self) -> Stock:
        self._tunnel = self.start_agent(self._port)
        until(self._answers, "the stock tunnel is up")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._tunnel.terminate()
        self._tunnel.wait(10)

    def start_agent(self, port: int) -> subprocess.Popen[bytes]:
        forward = f"{port}:127.0.0.1:{self._machine.port}"
        return subprocess.Popen(["ssh", "-F", str(self._config), "-N", "-R", forward, SERVER], stdin=subprocess.DEVNULL)

    def _answers(self) -> bool:
        scan = ["ssh-keyscan", "-p", str(self._port), "127.0.0.1"]
        return bool(subprocess.run(scan, capture_output=True, check=False).stdout)

    def click(self) -> PtyTerminal:
        return PtyTerminal(
            ["ssh", "-F", str(self._config), "-tt", "-J", SERVER, "-p", str(self._port), "localhost"],
        )


class PtyTerminal(Terminal):
    def __init__(self, command: list[str]) -> None:
        self._fd, inner = pty.openpty()
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
        super().__init__(self._fd)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def read(self, limit: int = 65536) -> bytes:
        self.wait()
        try:
            data = os.read(self._fd, limit)
        except OSError as error:  # EIO: nobody holds the other side of the pty any more
            raise TerminalEnded("ssh has ended") from error
        if not data:
            raise TerminalEnded("ssh has ended")
        return data

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)  # with the ssh that `-J` has started
        self._process.wait(10)
        os.close(self._fd)
