"""The gateway for agents, with the stock client: who gets a tunnel, what ends it, and what it opens on the broker."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest

from tests.story.broker import SCALE, Broker, soon, until
from tests.story.browser import Browser
from tests.story.machine import Machine, machine, terminal_grant
from tests.story.programs import program
from tests.story.terminal import open_terminal, shell

pytestmark = pytest.mark.sshd

GONE = (
    "the agent disconnected: disconnected by user",
    "the agent closed the connection",
    "the connection was cut",
)


def events_of(broker: Broker, event: str, machine: Machine) -> list[dict]:
    """Oldest first."""
    return [item for item in reversed(broker.audit(event)) if item["host"] == machine.name]


def last_refusal(broker: Broker, machine: Machine) -> str:
    refusals = events_of(broker, "tunnel.refused", machine)
    return refusals[-1]["detail"]["reason"] if refusals else ""


def test_port_zero_answers_the_hosts_own(broker: Broker, fresh: Machine):
    fresh.request()
    fresh.approve(terminal_grant())
    fresh.start_agent(forward=f"0:127.0.0.1:{fresh.port}")
    fresh.wait_online()
    allocated = f"Allocated port {fresh.enrollment['tunnel_port']} for remote forward"
    until(lambda: allocated in fresh.agent_log, "the client was told its port")


@pytest.mark.parametrize("exit_on_failure", ["yes", "no"])
def test_another_port_is_refused(broker: Broker, fresh: Machine, exit_on_failure: str):
    """The connection is of no use then: it ends with the reason, which a stock client shows without `-v`."""
    fresh.request()
    fresh.approve(terminal_grant())
    other = fresh.enrollment["tunnel_port"] + 1
    refused = fresh.run_agent("-o", f"ExitOnForwardFailure={exit_on_failure}", forward=f"{other}:127.0.0.1:22")
    assert refused.returncode == 255
    assert "Received disconnect from" in refused.stderr
    assert f"tunnel port {other} is not the one of {fresh.name}" in refused.stderr
    assert not broker.is_online(fresh.name)
    until(lambda: "is not the one of" in last_refusal(broker, fresh), "it is on record")


def test_a_wildcard_address_is_granted_and_binds_nothing(broker: Broker, fresh: Machine):
    """`-R` without a bind address and with GatewayPorts asks for all addresses: nothing is bound either way."""
    fresh.request()
    fresh.approve(terminal_grant())
    before = broker.listening()
    fresh.start_agent(forward=f"*:{fresh.enrollment['tunnel_port']}:127.0.0.1:{fresh.port}")
    fresh.wait_online()
    assert broker.listening() == before
    assert len(before) == 2


def test_an_address_of_the_network_is_refused(broker: Broker, fresh: Machine):
    fresh.request()
    fresh.approve(terminal_grant())
    refused = fresh.run_agent(forward=f"10.0.0.1:{fresh.enrollment['tunnel_port']}:127.0.0.1:22")
    assert "is not localhost" in refused.stderr


@pytest.mark.parametrize("exit_on_failure", ["yes", "no"])
def test_a_wrong_forward_costs_a_good_one_nothing(broker: Broker, fresh: Machine, exit_on_failure: str):
    """Asked for first: with ExitOnForwardFailure the client ends by itself, without it keeps the other."""
    fresh.request()
    fresh.approve(terminal_grant())
    # The first value that OpenSSH is given for an option counts.
    fresh.start_agent("-o", f"ExitOnForwardFailure={exit_on_failure}", "-R", "22099:127.0.0.1:1")
    assert fresh.agent
    if exit_on_failure == "yes":
        assert fresh.agent.wait(30 * SCALE) == 255
        assert "remote port forwarding failed for listen port 22099" in fresh.agent_log
    else:
        fresh.wait_online()
        assert "Received disconnect" not in fresh.agent_log


def test_a_second_forward_is_refused_and_the_first_stays(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant(), agent=False)
    fresh.start_agent("-v", "-o", "ExitOnForwardFailure=no", "-R", "0:127.0.0.1:1")
    fresh.wait_online()
    until(lambda: "one remote forward per connection" in fresh.agent_log, "the second one is refused")
    assert fresh.agent and fresh.agent.poll() is None
    assert broker.is_online(fresh.name)


@pytest.mark.parametrize("decision", ["pending", "rejected", "revoked"])
def test_turned_away_with_the_reason(broker: Broker, fresh: Machine, decision: str):
    fresh.request()
    if decision == "rejected":
        broker.api("POST", f"/hosts/{fresh.name}/reject")
    if decision == "revoked":
        fresh.approve(terminal_grant())
        broker.api("POST", f"/hosts/{fresh.name}/revoke")
    refused = fresh.run_agent()
    assert refused.returncode == 255
    reason = "is waiting for approval" if decision == "pending" else f"was {decision}"
    assert f"enrollment of {fresh.name} {reason}" in refused.stderr
    until(lambda: reason in last_refusal(broker, fresh), "it is on record")
    assert events_of(broker, "tunnel.opened", fresh) == []


def test_an_agent_that_tries_for_ever_is_on_record_once(broker: Broker, fresh: Machine):
    fresh.request()
    for _ in range(3):
        fresh.run_agent()
    fresh.approve(terminal_grant())
    fresh.start_agent()
    fresh.wait_online()
    until(lambda: events_of(broker, "tunnel.refused", fresh), "it is on record")
    assert len(events_of(broker, "tunnel.refused", fresh)) == 1


def test_approval_while_the_client_retries(broker: Broker, fresh: Machine, tmp_path: Path):
    fresh.request()
    loop = ["sh", "-c", 'until "$@"; do sleep 0.2; done', "agent", *fresh.ssh_command()]
    with program(loop, tmp_path / "loop.log") as agent:
        agent.start()
        until(lambda: agent.output.count("waiting for approval") >= 2, "it was turned away and tried again")
        fresh.approve(terminal_grant())
        fresh.wait_online()


def test_the_same_key_again_replaces_the_first(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    first = fresh.agent
    assert first
    fresh.start_agent()
    assert first.wait(30 * SCALE) == 255
    assert "replaced by a new connection with the same key" in fresh.agent_log
    until(lambda: len(events_of(broker, "tunnel.opened", fresh)) == 2, "the second is up")
    assert broker.is_online(fresh.name)
    reasons = [event["detail"]["reason"] for event in events_of(broker, "tunnel.closed", fresh)]
    assert reasons == ["replaced by a new connection with the same key"]
    assert fresh.agent and fresh.agent.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_that_ends_is_offline_at_once(broker: Broker, fresh: Machine, number: int):
    fresh.bring_up(terminal_grant())
    assert fresh.agent
    fresh.agent.send_signal(number)
    fresh.agent.wait()
    fresh.wait_online(False)
    reason = broker.host(fresh.name)["offline_reason"]
    assert reason in GONE
    assert [event["detail"]["reason"] for event in events_of(broker, "tunnel.closed", fresh)] == [reason]


async def test_an_agent_that_ends_with_something_unread(broker: Broker, fresh: Machine):
    """The kernel then ends its connection with a reset; people read the same."""
    fresh.bring_up(terminal_grant())
    assert fresh.agent
    fresh.agent.send_signal(signal.SIGSTOP)
    terminal = await open_terminal(broker, fresh.name)
    await soon(lambda: unread(fresh), "the way to the host is asked for")
    fresh.agent.kill()
    assert await terminal.closed() == 4412
    assert terminal.close_reason == f"the tunnel of {fresh.name} was lost: the connection was cut"
    await soon(lambda: not broker.is_online(fresh.name), "it is offline")
    assert broker.host(fresh.name)["offline_reason"] == "the connection was cut"


def unread(machine: Machine) -> bool:
    """Whether there is something in its agent's socket that the agent has not read."""
    assert machine.agent
    lines = subprocess.run(["ss", "-Htnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    return any(int(line.split()[1]) > 0 for line in lines if f"pid={machine.agent.pid}," in line)


def test_tunnels_open_no_port_on_the_broker(broker: Broker, web1: Machine):
    assert broker.is_online("web1")
    ports = {port for _, port in broker.listening()}
    assert ports == {broker.web_port, broker.ssh_port}


async def test_revoke_ends_tunnel_and_terminals_at_once(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    async with shell(broker, fresh.name) as terminal:
        await asyncio.to_thread(broker.api, "POST", f"/hosts/{fresh.name}/revoke")
        assert await terminal.closed() in (4403, 4412)
        assert "revoked" in terminal.close_reason
    assert fresh.agent and await asyncio.to_thread(fresh.agent.wait, 30 * SCALE) == 255
    assert "this host was revoked" in fresh.agent_log
    assert broker.call("GET", f"/api/v1/hosts/{fresh.name}", person="alice").status == 404


async def test_rename_keeps_tunnel_and_terminal(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    old, new = fresh.name, f"{fresh.name}-renamed"
    async with shell(broker, fresh.name) as terminal:
        admin = Browser(broker).log_in("admin")
        assert admin.submit(f"/approvals/{fresh.enrollment['id']}/rename", name=new).status == 302
        await soon(lambda: broker.is_online(new), "online under the new name")
        await terminal.run("echo $((6 * 7))")
        await terminal.until(b"42")
    assert fresh.agent and fresh.agent.poll() is None
    # An agent that still gives the old name is not stranded: the key says who connects.
    fresh.name = old
    fresh.start_agent()
    until(lambda: broker.host(new)["online"], "online again")


def test_tunnels_of_two_hosts_do_not_meet(broker: Broker, fresh: Machine, tmp_path: Path):
    """A host's port is its own: the key of one cannot take the port of another."""
    fresh.bring_up(terminal_grant())
    with machine(tmp_path / "other", "intruder", broker) as other:
        other.request()
        other.approve()
        refused = other.run_agent(forward=f"{fresh.enrollment['tunnel_port']}:127.0.0.1:22")
        assert "is not the one of intruder" in refused.stderr
    assert broker.is_online(fresh.name)
