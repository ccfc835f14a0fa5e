"""A person at a stock `ssh` client: a key of theirs in their account, and a configuration file of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.story.agent import AgentMachine
from tests.story.broker import SCALE, Broker, until
from tests.story.machine import Machine, keygen

OPTIONS = {
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "GlobalKnownHostsFile": "/dev/null",
    "StrictHostKeyChecking": "yes",
    "BatchMode": "yes",
    "ControlMaster": "no",
    "LogLevel": "INFO",
}


@dataclass
class Client:
    """`person`'s machine; `machines` are the hosts whose keys it knows, under their names."""

    folder: Path
    broker: Broker
    person: str
    machines: Sequence[Machine | AgentMachine] = ()

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = self.folder / "id"
        if not self.key.exists():
            self.public_key = keygen(self.key)
        self.config = self.folder / "config"
        self.known_hosts = self.folder / "known_hosts"
        self.write()

    def add_key(self) -> None:
        """To the person's account. The gateway knows it a moment later, or when it is started again."""
        self.broker.manage("add_key", self.person, str(self.key.with_suffix(".pub")))

    def write(self, extra: str = "") -> None:
        gateway = self.broker.api("GET", "/hosts?limit=1") and self._gateway_key()
        lines = [f"[127.0.0.1]:{self.broker.ssh_port} {gateway}"]
        for machine in self.machines:
            lines.append(f"{machine.name} {machine.host_key}")
            port = machine.enrollment.get("tunnel_port")
            lines.append(f"[localhost]:{port} {machine.host_key}")
        self.known_hosts.write_text("\n".join(lines) + "\n")
        options = {"IdentityFile": self.key, "UserKnownHostsFile": self.known_hosts, **OPTIONS}
        general = "\n".join(f"    {name} {value}" for name, value in options.items())
        self.config.write_text(f"{extra}\nHost *\n{general}\n")

    def _gateway_key(self) -> str:
        scan = subprocess.run(
            ["ssh-keyscan", "-T", "30", "-p", str(self.broker.ssh_port), "127.0.0.1"],
            capture_output=True,
            text=True,
            check=True,
        )
        return scan.stdout.splitlines()[0].split(maxsplit=1)[1]

    @property
    def jump(self) -> list[str]:
        """Options for the way through the broker, end to end."""
        proxy = f"ssh -F {self.config} -p {self.broker.ssh_port} -W %h:%p {self.person}@127.0.0.1"
        return ["-o", f"ProxyCommand={proxy}"]

    def command(self, destination: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """`ssh` to the gateway itself as `destination`."""
        port = str(self.broker.ssh_port)
        return ["ssh", "-F", str(self.config), "-p", port, *options, f"{destination}@127.0.0.1", *words]

    def ssh(
        self, destination: str, *words: str, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        return run(self.command(destination, *words, options=options), **more)

    def end_to_end(
        self, destination: str, *words: str, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """`ssh` to a host, through the broker."""
        return run(["ssh", "-F", str(self.config), *self.jump, *options, destination, *words], **more)


def known_client(
    folder: Path, broker: Broker, person: str = "alice", machines: Sequence[Machine | AgentMachine] = ()
) -> Client:
    """One whose key the gateway knows already."""
    client = Client(folder, broker, person, machines)
    client.add_key()
    until(lambda: client.ssh(person).returncode == 0, "the gateway knows the key", 60)
    return client


def client_without_a_try(folder: Path, broker: Broker, person: str = "alice") -> Client:
    """Known as well, by a restart: nothing that the gateway would hold against its address came before."""
    client = Client(folder, broker, person)
    client.add_key()
    broker.stop()
    broker.start()
    assert client.ssh(person).returncode == 0
    return client


def run(command: list[str], *, stdin: bytes = b"", seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=seconds * SCALE)
