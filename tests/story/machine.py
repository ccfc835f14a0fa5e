"""A machine to be enrolled: a real sshd on loopback, and a stock `ssh -N -R` for its tunnel."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.story.broker import SCALE, Broker, free_port, until

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
LOGIN = getpass.getuser()
PROMPT = b"story$ "
PROFILE = "PS1='story$ '\n"
"""A login shell's whole profile on a machine of ours."""
_addresses = count(1)


def keygen(path: Path, kind: str = "ed25519") -> str:
    """A new key pair at `path`; the public key line."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


@dataclass
class Machine:
    """`ca` makes its sshd trust the broker; without it a person is asked for a password."""

    folder: Path
    name: str
    broker: Broker
    port: int = field(default_factory=free_port)
    enrollment: dict[str, Any] = field(default_factory=dict)
    sshd: subprocess.Popen[bytes] | None = None
    agent: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True)
        self._started: list[subprocess.Popen[bytes]] = []
        self.key = self.folder / "agent"
        self.public_key = keygen(self.key)
        self.host_key = keygen(self.folder / "host")
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o755)
        (self.home / ".profile").write_text(PROFILE)
        self.address = f"127.1.{next(_addresses)}.1"

    # Enrollment

    def request(self, **more: Any) -> dict[str, Any]:
        info = {"hostname": self.name, "os": "Linux", "arch": "x86_64", "version": "1"}
        body = {"name": self.name, "public_key": self.public_key, "host_keys": [self.host_key], "login": LOGIN}
        # Each machine from an address of its own: the portal counts requests by address.
        answer = self.broker.call("POST", "/api/v1/enrollments", {**body, "info": info, **more}, source=self.address)
        assert answer.status in (200, 201), answer.body
        self.enrollment = answer.json
        return self.enrollment

    def approve(self, *grants: dict[str, Any]) -> None:
        body = {"fingerprint": self.enrollment["fingerprint"], "grants": list(grants)}
        self.broker.api("POST", f"/hosts/{self.name}/approve", body)

    # Its SSH server

    def start_sshd(
        self,
        *,
        ca: bool = True,
        password: bool = False,
        principals: str = "",
        authorized_keys: Path | None = None,
        max_sessions: int = 10,
    ) -> None:
        """`ca`: it trusts the broker's certificates, for `principals` where named; `password`: it takes passwords."""
        config = self.folder / "sshd_config"
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host'}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            f"AuthorizedKeysFile {authorized_keys or 'none'}",
            "PermitRootLogin yes",
            f"PasswordAuthentication {'yes' if password else 'no'}",
            "KbdInteractiveAuthentication no",
            f"MaxSessions {max_sessions}",
            "PrintMotd no",
            "PrintLastLog no",
            "LogLevel DEBUG1",
            # Not the person's own home: what stands in its profile may take long, and must not be killed half-way.
            f"SetEnv HOME={self.home}",
            "Subsystem sftp internal-sftp",
            "AcceptEnv LANG LC_*",
        ]
        if ca:
            trusted = self.folder / "ca.pub"
            trusted.write_text(self.enrollment["ca_public_key"] + "\n")
            lines.append(f"TrustedUserCAKeys {trusted}")
        if principals:
            (self.folder / "principals").write_text(principals + "\n")
            lines.append(f"AuthorizedPrincipalsFile {self.folder / 'principals'}")
        config.write_text("\n".join(lines) + "\n")
        self._run_sshd(config)

    def _run_sshd(self, config: Path) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdout=log, stderr=log)
        self._started.append(self.sshd)
        until(self._sshd_answers, "sshd is up")

    def swap_host_key(self) -> None:
        """Another machine answers at the same place."""
        assert self.sshd
        self.sshd.kill()
        self.sshd.wait()
        for path in (self.folder / "host", self.folder / "host.pub"):
            path.unlink()
        self.host_key = keygen(self.folder / "host")
        with (self.folder / "sshd.log").open("a") as log:
            log.write("swapped\n")
        self._run_sshd(self.folder / "sshd_config")

    @property
    def sshd_log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    @property
    def connections(self) -> int:
        """That its sshd serves now: a process each."""
        assert self.sshd
        pid = self.sshd.pid
        return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def _sshd_answers(self) -> bool:
        assert self.sshd and self.sshd.poll() is None, (self.folder / "sshd.log").read_text()
        scan = subprocess.run(["ssh-keyscan", "-p", str(self.port), "127.0.0.1"], capture_output=True, check=False)
        return bool(scan.stdout)

    # Its agent

    def ssh_command(self, *options: str, forward: str | None = None, interactive: bool = False) -> list[str]:
        """The stock client, as the README tells people to run it. `interactive` leaves `-N` out."""
        known_hosts = self.folder / "known_hosts"
        gateway = self.enrollment["gateway"]
        known_hosts.write_text(f"[127.0.0.1]:{self.broker.ssh_port} {gateway['host_keys'][0]}\n")
        forward = forward or f"{self.enrollment['tunnel_port']}:127.0.0.1:{self.port}"
        settings = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "ServerAliveInterval": "10",
            "ExitOnForwardFailure": "yes",
            "BatchMode": "yes",
        }
        given = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        remote = ["-R", forward] if forward != "none" else []
        target = ["-p", str(self.broker.ssh_port), f"{self.name}@127.0.0.1"]
        return ["ssh", "-F", "none", *options, *given, *([] if interactive else ["-N"]), *remote, *target]

    def start_agent(self, *options: str, forward: str | None = None) -> None:
        command = self.ssh_command(*options, forward=forward)
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started.append(self.agent)

    @property
    def agent_log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def run_agent(self, *options: str, forward: str | None = None) -> subprocess.CompletedProcess[str]:
        """An agent that is expected to be turned away; with what the client printed."""
        return subprocess.run(
            self.ssh_command(*options, forward=forward),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30 * SCALE,
        )

    def bring_up(self, *grants: dict[str, Any], agent: bool = True, **sshd: Any) -> None:
        """The whole way: enrolled, approved, with an sshd and a tunnel."""
        self.request()
        self.approve(*grants)
        self.start_sshd(**sshd)
        if agent:
            self.start_agent()
            self.wait_online()

    def wait_online(self, online: bool = True, seconds: float = 30) -> None:
        until(lambda: self.broker.is_online(self.name) is online, f"{self.name} online is {online}", seconds)

    def stop_agents(self) -> None:
        for process in self._started:
            if process is not self.sshd and process.poll() is None:
                process.kill()
                process.wait()

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()


def ssh_grant(person: str = "alice") -> dict[str, Any]:
    """All that a stock client can use."""
    return terminal_grant(person) | {"capabilities": ["terminal", "exec", "sftp", "forward"]}


def terminal_grant(person: str = "alice", *logins: str) -> dict[str, Any]:
    return {"person": person, "logins": list(logins or (LOGIN,)), "capabilities": ["terminal"]}


@contextmanager
def terminal_host(folder: Path, name: str, broker: Broker) -> Iterator[Machine]:
    """Online, and alice has a terminal there."""
    with machine(folder, name, broker) as made:
        made.bring_up(terminal_grant())
        yield made


@contextmanager
def machine(folder: Path, name: str, broker: Broker) -> Iterator[Machine]:
    made = Machine(folder / name, name, broker)
    try:
        yield made
    finally:
        made.stop()
