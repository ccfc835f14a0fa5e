"""The whole way, from a machine that asks to a shell that ends, in each of the three ways of adding one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.broker import ROOT, Broker, soon
from tests.story.machine import LOGIN, PROMPT, Machine, terminal_grant
from tests.story.programs import Program, program
from tests.story.terminal import open_terminal, shell

pytestmark = pytest.mark.sshd
STORY = [
    "enrollment.requested",
    "host.approved",
    "host.key_pinned",
    "grant.created",
    "tunnel.opened",
    "session.opened",
    "session.ended",
]


async def test_enroll_approve_type(broker: Broker, fresh: Machine):
    request = fresh.request()
    assert request["state"] == "pending"
    assert poll(broker, request)["state"] == "pending"
    assert "waiting for approval" in fresh.run_agent().stderr
    await soon(lambda: "tunnel.refused" in story_of(broker, fresh.name), "that is on record")

    fresh.approve(terminal_grant())
    assert poll(broker, request)["state"] == "approved"
    assert broker.host(fresh.name)["offline_reason"] == "never connected"

    fresh.start_sshd()
    fresh.start_agent()
    fresh.wait_online()
    terminal = await open_terminal(broker, fresh.name)
    await terminal.until(PROMPT)
    await terminal.run("echo $((6 * 7))")
    await terminal.until(b"42")
    await terminal.run("exit 3")
    assert await terminal.closed() == 1000
    assert terminal.close_reason == "the program ended with status 3"
    assert terminal.kinds[-2:] == ["exit", "closing"]
    assert terminal.messages[-2]["status"] == 3

    row = broker.ended(terminal.id)
    assert (row["state"], row["reason"]) == ("ended", "the program ended with status 3")
    assert row["bytes_in"] == len("echo $((6 * 7))\rexit 3\r")
    assert row["bytes_out"] == terminal.offset
    assert story_of(broker, fresh.name) == [*STORY[:1], "tunnel.refused", *STORY[1:]]
    assert "the audit chain holds" in broker.manage("verify_audit").stdout


def poll(broker: Broker, request: dict) -> dict:
    headers = {"Authorization": f"Bearer {request['poll_token']}"}
    return broker.call("GET", f"/api/v1/enrollments/{request['id']}", **headers).json


def story_of(broker: Broker, host: str) -> list[str]:
    """The host's audit events, oldest first."""
    items = broker.api("GET", f"/audit?host={host}&limit=1000", person="auditor")["items"]
    return [item["event"] for item in reversed(items)]


async def test_with_a_token_that_approves(broker: Broker, fresh: Machine):
    token = broker.manage(
        "create_enrollment_token", "--name", "lab", "--host", fresh.name, "--auto-approve", "--tag", "site=lab"
    ).stdout.strip()
    grant = {"person": "alice", "tag": "site=lab", "logins": [LOGIN], "capabilities": ["terminal"]}
    broker.api("POST", "/grants", grant, status=201)
    assert fresh.request(token=token)["state"] == "approved"
    fresh.start_sshd()
    fresh.start_agent()
    fresh.wait_online()
    assert broker.host(fresh.name)["tags"] == {"site": "lab"}
    async with shell(broker, fresh.name) as terminal:
        await terminal.run("echo $((6 * 7))")
        await terminal.until(b"42")
    used = [event["detail"]["token"] for event in broker.audit("token.used") if event["host"] == fresh.name]
    assert used == ["lab"]


@pytest.fixture
def agent(broker: Broker, fresh: Machine, tmp_path: Path) -> Iterator[Program]:
    """`python -m tunnels.agent` under the machine's name, with a state directory and home of its own."""
    arguments = ["--broker", broker.url, "--name", fresh.name, "--state", str(tmp_path / "state"), "-F"]
    home = tmp_path / "home"
    home.mkdir()
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BROKERD_")},
        "HOME": str(home),
    }
    with program(
        [sys.executable, "-m", "tunnels.agent", *arguments], tmp_path / "agent.log", cwd=ROOT, env=environ
    ) as made:
        yield made


async def test_agent_with_its_own_login_shell(broker: Broker, fresh: Machine, agent: Program):
    agent.start("--login-shell")
    await approve_waiting(broker, fresh.name, agent)
    await soon(lambda: broker.is_online(fresh.name), "the agent is online", 30)
    terminal = await open_terminal(broker, fresh.name)
    await terminal.run("echo $((6 * 7)); tty")
    await terminal.until(b"42")
    await terminal.until(b"/dev/pts/")
    await terminal.run("exit 4")
    assert await terminal.closed() == 1000
    assert terminal.close_reason == "the program ended with status 4"


async def test_agent_before_an_sshd(broker: Broker, web1: Machine, fresh: Machine, agent: Program):
    fresh.enrollment = {"ca_public_key": web1.enrollment["ca_public_key"]}
    fresh.start_sshd()
    agent.start("--forward", f"127.0.0.1:{fresh.port}")
    await approve_waiting(broker, fresh.name, agent)
    await soon(lambda: broker.is_online(fresh.name), "the agent is online", 30)
    async with shell(broker, fresh.name) as terminal:
        await terminal.run("echo $((6 * 7)) $SSH_CONNECTION")
        await terminal.until(f"127.0.0.1 {fresh.port}".encode())


async def approve_waiting(broker: Broker, name: str, agent: Program) -> None:
    """What the admin sees is what the agent has printed."""

    def waiting() -> dict | None:
        machines = broker.api("GET", "/hosts?state=pending")["items"]
        return next((machine["enrollment"] for machine in machines if machine["name"] == name), None)

    found = await soon(waiting, "the agent has asked")
    printed = await soon(lambda: "next:" in agent.output and agent.output, "the agent has said so")
    assert found["fingerprint"] in printed
    assert found["code"] in printed
    body = {"fingerprint": found["fingerprint"], "grants": [terminal_grant()]}
    broker.api("POST", f"/hosts/{name}/approve", body)
