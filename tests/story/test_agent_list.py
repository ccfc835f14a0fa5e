"""`brokerd-agent --authorized-keys`, through the real broker: only who the machine itself knows gets in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.story.agent import AgentMachine, agent_machine
from tests.story.broker import Broker
from tests.story.client import Client, known_client
from tests.story.machine import LOGIN, ssh_grant

REASON = b"this machine takes only its own list of keys: use ssh -J"


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMachine]:
    folder = tmp_path_factory.mktemp("listed")
    (folder / "keys").write_text("# nobody yet\n")
    with agent_machine(folder, "listed1", broker, "--authorized-keys", str(folder / "keys")) as made:
        made.bring_up(ssh_grant())
        yield made


@pytest.fixture(scope="module")
def alice(broker: Broker, host: AgentMachine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return known_client(tmp_path_factory.mktemp("alice"), broker, "alice", [host])


def listed(host: AgentMachine, *lines: str) -> None:
    (host.folder.parent / "keys").write_text("".join(f"{line}\n" for line in lines))


def test_a_grant_of_the_broker_is_not_enough(host: AgentMachine, alice: Client):
    listed(host, "# nobody")
    done = alice.end_to_end(f"{LOGIN}@{host.name}", "id")
    assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr, done.stderr


def test_who_is_listed_gets_in_end_to_end(host: AgentMachine, alice: Client):
    listed(host, alice.public_key)
    done = alice.end_to_end(f"{LOGIN}@{host.name}", "echo $((6*7)); exit 3")
    assert (done.stdout, done.returncode) == (b"42\n", 3), done.stderr


def test_being_listed_is_not_enough_without_a_grant(broker: Broker, host: AgentMachine, alice: Client):
    listed(host, alice.public_key)
    bob = known_client(alice.folder.parent / "bob", broker, "bob", [host])
    assert bob.end_to_end(f"{LOGIN}@{host.name}", "id").returncode == 255


@pytest.mark.parametrize("options", [(), ("-tt",)], ids=["exec", "terminal"])
def test_what_the_broker_opens_ends_with_the_reason(host: AgentMachine, alice: Client, options: tuple[str, ...]):
    listed(host, alice.public_key)
    done = alice.ssh(f"{LOGIN}@{host.name}", "id", options=options)
    assert done.returncode == 255 and REASON in done.stdout + done.stderr, done


def test_it_does_not_go_with_forward(host: AgentMachine):
    done: subprocess.CompletedProcess[str] = host.run("--forward", "127.0.0.1:22")
    assert done.returncode == 2 and "goes with login-shell only" in done.stderr
