"""A machine to be enrolled that has `brokerd-agent` and nothing else: its process, its log, its state directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from tests.story.broker import ROOT, SCALE, Broker, until


@dataclass
class AgentMachine:
    folder: Path
    name: str
    broker: Broker
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state = self.folder / "state"

    def command(self, *words: str) -> list[str]:
        given = ["--broker", self.broker.url, "--name", self.name, "--state", str(self.state), *self.options]
        return [sys.executable, "-m", "tunnels.agent", *words, *given]

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.folder), "PATH": os.environ["PATH"]}

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=ROOT, env=self.environ, stdout=log, stderr=log)
        self._started.append(self.process)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another start of the same program, to its end."""
        return subprocess.run(
            self.command(*words), cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=60 * SCALE
        )

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    @property
    def enrollment(self) -> dict[str, Any]:
        """What `Client` wants to know of a machine."""
        return json.loads((self.state / "broker.json").read_text())

    @property
    def host_key(self) -> str:
        key = asyncssh.read_private_key(str(self.state / "host_key"))
        return " ".join(key.export_public_key("openssh").decode().split()[:2])

    def approve(self, *grants: dict[str, Any]) -> None:
        """As an admin does who compares the fingerprint with what the machine shows."""
        line = until(lambda: next((line for line in self.log.splitlines() if "fingerprint" in line), ""), "it waits")
        body = {"fingerprint": line.split()[-1], "grants": list(grants)}
        self.broker.api("POST", f"/hosts/{self.name}/approve", body)

    def bring_up(self, *grants: dict[str, Any]) -> None:
        self.start()
        self.approve(*grants)
        self.wait_online()

    def wait_online(self, online: bool = True, seconds: float = 30) -> None:
        until(lambda: self.broker.is_online(self.name) is online, f"{self.name} online is {online}", seconds)

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(20 * SCALE)


@contextmanager
def agent_machine(folder: Path, name: str, broker: Broker, *options: str) -> Iterator[AgentMachine]:
    made = AgentMachine(folder / name, name, broker, options)
    try:
        yield made
    finally:
        made.stop()
