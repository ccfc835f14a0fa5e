"""BROKERD_BIND_TUNNEL_PORTS=1: on the broker itself, `ssh -p 22100 root@localhost` reaches the host, as with sshd."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.story.broker import SCALE, Broker, running, until
from tests.story.machine import LOGIN, Machine, keygen, machine

pytestmark = pytest.mark.sshd


@pytest.fixture(scope="module")
def binding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("binding") / "data", BROKERD_BIND_TUNNEL_PORTS="1") as broker:
        yield broker


@pytest.fixture
def bound(binding: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Online, its port bound; whoever has `user` in the folder logs in to its sshd."""
    with machine(tmp_path, re.sub("[^a-z]+", "-", request.node.name)[5:50].strip("-"), binding) as made:
        (made.folder / "authorized").write_text(keygen(made.folder / "user") + "\n")
        made.bring_up(authorized_keys=made.folder / "authorized")
        until(lambda: listens(binding, made), "its port is bound")
        yield made


def listens(broker: Broker, host: Machine) -> bool:
    return ("127.0.0.1", host.enrollment["tunnel_port"]) in broker.listening()


def bound_ports(broker: Broker) -> float:
    """As the metrics have it."""
    metrics = broker.call("GET", "/metrics").body.decode()
    found = re.search(r"^brokerd_bound_ports (\S+)$", metrics, re.MULTILINE)
    assert found
    return float(found[1])


def ssh(host: Machine, *command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    known_hosts = host.folder / "known_hosts_local"
    known_hosts.write_text(f"[127.0.0.1]:{host.enrollment['tunnel_port']} {host.host_key}\n")
    settings = {
        "IdentityFile": host.folder / "user",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
    }
    given = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    target = ["-p", str(host.enrollment["tunnel_port"]), f"{LOGIN}@127.0.0.1"]
    return subprocess.run(
        ["ssh", "-F", "none", *given, *target, *command],
        capture_output=True,
        check=False,
        timeout=60 * SCALE,
        **options,
    )


def test_ssh_to_the_port_reaches_the_host(binding: Broker, bound: Machine):
    payload = bytes(range(256)) * 40_000
    done = ssh(bound, "cat; exit 7", input=payload)
    assert (done.returncode, done.stdout) == (7, payload), done.stderr
    closed = until(lambda: [e for e in binding.audit("forward.closed") if e["host"] == bound.name], "it is on record")
    (opened,) = [event for event in binding.audit("forward.opened") if event["host"] == bound.name]
    assert (opened["person"], opened["address"]) == ("", "127.0.0.1")
    assert opened["detail"]["note"] == "local, end to end, not recorded"
    assert closed[0]["detail"]["bytes_in"] > len(payload)


def test_on_loopback_alone_and_only_while_it_is_online(binding: Broker, bound: Machine):
    port = bound.enrollment["tunnel_port"]
    assert [address for address, number in binding.listening() if number == port] == ["127.0.0.1"]
    until(lambda: bound_ports(binding) == 1, "its port alone: those of tests before are free again")
    assert bound.agent
    bound.agent.kill()
    bound.agent.wait()
    until(lambda: not listens(binding, bound), "the port is free again")
    bound.start_agent()
    until(lambda: listens(binding, bound), "and bound again")


def test_revoked_with_a_connection_open(binding: Broker, bound: Machine):
    with socket.create_connection(("127.0.0.1", bound.enrollment["tunnel_port"]), timeout=30 * SCALE) as peer:
        assert peer.recv(100).startswith(b"SSH-2.0-OpenSSH")
        binding.api("POST", f"/hosts/{bound.name}/revoke")
        peer.settimeout(30 * SCALE)
        while peer.recv(4096):
            pass
    until(lambda: not listens(binding, bound), "the port is free")
