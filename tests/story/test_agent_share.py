"""`brokerd-agent share`, through the real broker: people who open the host get the terminal of the user at it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.sharing import ESCAPE, User
from tests.story.agent import AgentMachine, agent_machine
from tests.story.broker import Broker, until
from tests.story.client import known_client
from tests.story.machine import LOGIN, terminal_grant
from tests.story.test_agent_shell import Terminal


@pytest.fixture
def host(broker: Broker, tmp_path: Path) -> Iterator[AgentMachine]:
    with agent_machine(tmp_path, "desk1", broker) as made:
        made.bring_up(terminal_grant())
        yield made


async def test_a_person_joins_by_ssh_and_the_record_is_the_brokers(broker: Broker, host: AgentMachine, tmp_path: Path):
    alice = await asyncio.to_thread(known_client, tmp_path / "alice", broker)
    with User(broker.url, host.state) as user:
        await user.sees("this terminal is shared")
        with Terminal(alice.command(f"{LOGIN}@desk1", options=("-tt",))) as terminal:
            await user.sees("alice wants in")
            user.type(f"{ESCAPE}y")
            await user.sees("alice (types) is here now")
            terminal.type("echo fr''om-alice\r")
            await user.sees("from-alice")
            terminal.shows("from-alice")
            live = broker.api("GET", "/sessions?live=1&mine=1", person="alice")["items"]
            assert "desk1" in [row["host"] for row in live]
            user.type("exit\r")
            assert await user.ended() == 0
            until(lambda: terminal.process.poll() == 0, "alice's end")
