"""`brokerd-agent` and a real broker that go away from each other: it returns by itself, and says little meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.agent import AgentMachine, agent_machine
from tests.story.broker import Broker, running, until
from tests.story.machine import LOGIN

GRANT = {"person": "alice", "logins": [LOGIN], "capabilities": ["exec"]}


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path / "data", BROKERD_KEEPALIVE="1") as made:
        yield made


@pytest.fixture
def host(own_broker: Broker, tmp_path: Path) -> Iterator[AgentMachine]:
    with agent_machine(tmp_path, "stray1", own_broker, "-F") as made:
        made.bring_up(GRANT)
        yield made


def test_a_broker_that_restarts_and_an_agent_that_is_stopped_and_goes_on(own_broker: Broker, host: AgentMachine):
    own_broker.stop(signal.SIGKILL)
    until(lambda: "tunnel lost" in host.log, "it notices")
    own_broker.start()
    host.wait_online(seconds=60)
    assert host.process
    host.process.send_signal(signal.SIGSTOP)
    host.wait_online(False, seconds=30)
    host.process.send_signal(signal.SIGCONT)
    host.wait_online(seconds=60)
    assert len(host.log.splitlines()) < 25, host.log


def test_doctor_before_and_after_approval(own_broker: Broker, tmp_path: Path):
    with agent_machine(tmp_path, "ill1", own_broker) as machine:
        done = machine.run("doctor")
        assert done.returncode == 1 and "has not enrolled yet" in done.stdout
        machine.start()
        until(lambda: "pairing code" in machine.log, "it asks")
        done = machine.run("doctor")
        assert done.returncode == 1 and "an admin must approve it" in done.stdout
        machine.approve(GRANT)
        machine.wait_online()
        until(lambda: "tunnel up" in machine.log, "it says so")
        done = machine.run("doctor")
        assert done.returncode == 0 and "WRONG" not in done.stdout, done.stdout
        machine.stop()
        machine.wait_online(False)
        done = machine.run("doctor")
        assert done.returncode == 0 and "no agent runs now" in done.stdout, done.stdout
