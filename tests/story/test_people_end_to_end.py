"""Stock ssh through the broker, end to end: granted hosts alone, byte for byte, on record, ended with the grant."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.story.broker import SCALE, Broker, until
from tests.story.client import Client, known_client, run
from tests.story.machine import LOGIN, Machine, keygen, machine

pytestmark = pytest.mark.sshd
FORWARD = {"person": "alice", "logins": [LOGIN], "capabilities": ["forward"]}


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that does not know our CA: only alice's own key opens it, at the far end."""
    with machine(tmp_path_factory.mktemp("jump"), "jump1", broker) as made:
        keys = made.folder / "authorized_keys"
        keys.touch()
        made.bring_up(FORWARD, ca=False, authorized_keys=keys)
        yield made


@pytest.fixture(scope="module")
def alice(broker: Broker, host: Machine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    client = known_client(tmp_path_factory.mktemp("alice"), broker, "alice", [host])
    (host.folder / "authorized_keys").write_text(client.public_key + "\n")
    return client


def test_by_name(broker: Broker, host: Machine, alice: Client):
    done = alice.end_to_end(f"{LOGIN}@{host.name}", "echo $((6*7)); exit 3")
    assert (done.stdout, done.returncode) == (b"42\n", 3), done.stderr


def test_by_the_clients_own_jump(broker: Broker, host: Machine, alice: Client):
    """`ssh -J alice@broker:2222 root@web1`, as people type it; the configuration is given where -J takes it from."""
    alice.write(extra=f"Host 127.0.0.1\n    Port {broker.ssh_port}\n")
    done = run(["ssh", "-F", str(alice.config), "-J", "alice@127.0.0.1", f"{LOGIN}@{host.name}", "echo hello"])
    assert done.stdout == b"hello\n", done.stderr


def test_the_configuration_of_openssh_users_as_it_stands(broker: Broker, host: Machine, alice: Client):
    """With `Host proxy` and `Host distant` by localhost and tunnel port: nothing but names and ports is ours."""
    config = alice.folder / "by_hand"
    distant_key = alice.folder / "distant"
    line = keygen(distant_key)
    with (host.folder / "authorized_keys").open("a") as keys:
        keys.write(line + "\n")
    general = "\n".join(alice.config.read_text().split("Host *\n")[1].splitlines()[1:])
    config.write_text(
        f"Host proxy\n    User alice\n    Port {broker.ssh_port}\n    Hostname 127.0.0.1\n"
        f"    IdentityFile {alice.key}\n"
        f"Host distant\n    ProxyCommand ssh -F {config} -W %h:%p proxy\n    User {LOGIN}\n"
        f"    Port {host.enrollment['tunnel_port']}\n    Hostname localhost\n    IdentityFile {distant_key}\n"
        f"Host *\n{general}\n"
    )
    done = run(["ssh", "-F", str(config), "distant", "echo distant"])
    assert done.stdout == b"distant\n", done.stderr


def test_it_is_on_record(broker: Broker, host: Machine, alice: Client):
    alice.end_to_end(f"{LOGIN}@{host.name}", "head -c 100000 /dev/zero")
    opened = next(event for event in broker.audit("forward.opened") if event["host"] == host.name)
    assert (opened["person"], opened["host"]) == ("alice", host.name)
    assert opened["detail"]["note"] == "end to end, not recorded"
    closed = until(
        lambda: [event for event in broker.audit("forward.closed") if event["session"] == opened["session"]], "closed"
    )[0]
    assert closed["detail"]["bytes_out"] > 100_000 and closed["detail"]["reason"]
    row = broker.ended(opened["session"])
    assert (row["way"], row["state"]) == ("end-to-end", "ended")


def test_its_bytes_are_seen_while_it_runs(broker: Broker, host: Machine, alice: Client):
    command = ["ssh", "-F", str(alice.config), *alice.jump, f"{LOGIN}@{host.name}", "head -c 100000 /dev/zero; cat"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:

        def live() -> list[dict[str, Any]]:
            shown = broker.api("GET", "/sessions?live=1", person="alice")["items"]
            return [item for item in shown if item["host"] == host.name and item["bytes_out"] > 100_000]

        shown = until(live, "what went through it is shown")[0]
        assert (shown["way"], shown["state"]) == ("end-to-end", "live") and shown["bytes_in"] > 0
        assert process.stdin
        process.stdin.close()


def test_bytes_arrive_as_they_are_both_ways(host: Machine, alice: Client):
    data = os.urandom(5_000_000)
    done = alice.end_to_end(f"{LOGIN}@{host.name}", "cat; sleep 0.2", stdin=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_scp_through_it(host: Machine, alice: Client, tmp_path: Path):
    source, back = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(3_000_000))
    for frm, to in (
        (str(source), f"{LOGIN}@{host.name}:{tmp_path}/there"),
        (f"{LOGIN}@{host.name}:{tmp_path}/there", str(back)),
    ):
        done = run(["scp", "-q", "-F", str(alice.config), *alice.jump, frm, to])
        assert done.returncode == 0, done.stderr
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("nowhere:22", b"there is no host nowhere that you may reach"),
        ("web1:22", b"does not give forward"),
        ("jump1:80", b"only the SSH server of jump1 can be reached"),
        ("localhost:22", b"there is no host at tunnel port 22"),
        ("127.0.0.1:22", b"there is no host at tunnel port 22"),
        ("10.0.0.1:22", b"there is no host 10.0.0.1"),
        ("localhost:23099", b"there is no host at tunnel port 23099"),
    ],
)
def test_nowhere_else_and_the_client_prints_why(web1: Machine, alice: Client, place: str, reason: bytes):
    done = alice.ssh("alice", options=("-W", place))
    assert done.returncode == 255 and reason in done.stderr, done.stderr


def closings(broker: Broker, host: Machine) -> list[str]:
    """Why ways to it were closed."""
    return [event["detail"]["reason"] for event in broker.audit("forward.closed") if event["host"] == host.name]


def test_the_grant_ends_and_the_way_with_it(broker: Broker, host: Machine, alice: Client):
    broker.api("POST", "/grants", {**FORWARD, "host": host.name, "valid_until": None}, status=201)
    first = broker.api("GET", "/grants?limit=1000")["items"]
    process = subprocess.Popen(
        ["ssh", "-F", str(alice.config), *alice.jump, f"{LOGIN}@{host.name}", "echo up; sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == b"up\n"
    for item in first:
        if item["host"] == host.name:
            broker.api("DELETE", f"/grants/{item['id']}", status=204)
    try:
        assert process.wait(30 * SCALE) == 255
        until(lambda: "access was withdrawn" in str(closings(broker, host)), "the reason is on record")
    finally:
        process.kill()
        broker.api("POST", "/grants", {**FORWARD, "host": host.name}, status=201)
