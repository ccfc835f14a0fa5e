"""The broker killed, stopped and locked out of its database; agents that hang: what people see, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.broker import ROOT, SCALE, Broker, running, soon, until
from tests.story.client import known_client
from tests.story.machine import LOGIN, PROMPT, Machine, machine, terminal_grant
from tests.story.programs import program
from tests.story.terminal import open_terminal, request_session, shell

pytestmark = pytest.mark.sshd
RETRY = 'while :; do "$@"; sleep 0.2; done'


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for these tests, quick to notice what is dead. Whoever ends it starts it again."""
    with running(tmp_path_factory.mktemp("doomed") / "data", BROKERD_KEEPALIVE="1") as made:
        yield made


@pytest.fixture(scope="module")
def machine2(doomed: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machines"), "web2", doomed) as made:
        made.bring_up(terminal_grant(), agent=False)
        yield made


@pytest.fixture
def web2(machine2: Machine) -> Iterator[Machine]:
    """Online, with an agent of this test's own: the one before is gone, or it would be taken for it."""
    machine2.wait_online(False)
    machine2.start_agent()
    machine2.wait_online()
    yield machine2
    machine2.stop_agents()
    machine2.wait_online(False)


async def test_killed_in_the_middle_and_started_again(doomed: Broker, machine2: Machine, tmp_path: Path):
    """Rows of the lost run are closed with the reason, and agents of both kinds come back by themselves."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BROKERD_")}
    ours = [sys.executable, "-m", "tunnels.agent", "--broker", doomed.url, "--name", "web3"]
    ours += ["--state", str(tmp_path / "state"), "--forward", f"127.0.0.1:{machine2.port}"]
    loop = ["sh", "-c", RETRY, "agent", *machine2.ssh_command()]
    with (
        program(loop, tmp_path / "stock.log") as stock,
        program(ours, tmp_path / "ours.log", cwd=ROOT, env=environ) as agent,
    ):
        stock.start()
        agent.start()
        await soon(lambda: "pairing code" in agent.output, "our agent has asked")
        waiting = doomed.api("GET", "/hosts?state=pending")["items"][0]
        doomed.api(
            "POST",
            "/hosts/web3/approve",
            {"fingerprint": waiting["enrollment"]["fingerprint"], "grants": [terminal_grant()]},
        )
        for name in ("web2", "web3"):
            await soon(lambda name=name: doomed.is_online(name), f"{name} is online", 30)
        terminal = await open_terminal(doomed, "web2")
        await terminal.run("yes")
        await terminal.wait(lambda: len(terminal.output) > 200_000, "a flood")

        assert doomed.stop(signal.SIGKILL) == -signal.SIGKILL
        assert await terminal.closed() == 1006
        doomed.start()
        row = doomed.session(terminal.id)
        assert (row["state"], row["reason"]) == ("ended", "broker lost")
        closed = {event["host"]: event["detail"]["reason"] for event in reversed(doomed.audit("tunnel.closed"))}
        assert closed == dict.fromkeys(("web2", "web3"), "the broker stopped without closing it")
        for name in ("web2", "web3"):
            await soon(lambda name=name: doomed.is_online(name), f"{name} is back", 40)
            async with shell(doomed, name) as terminal:
                await terminal.ping()
        doomed.manage("verify_audit")


async def test_stopped_with_terminals_open(doomed: Broker, web2: Machine):
    """SIGTERM: everybody is told when to come back, everything is written down, and the process is gone in time.

    Also with a viewer that does not read.
    """
    deaf = await open_terminal(doomed, "web2")
    await deaf.run("yes")
    await deaf.wait(lambda: len(deaf.output) > 200_000, "a flood")
    deaf.socket.transport.pause_reading()
    async with contextlib.AsyncExitStack() as stack:
        terminals = [await open_terminal(doomed, "web2") for _ in range(3)]
        await terminals[0].run("yes")
        await terminals[0].wait(lambda: len(terminals[0].output) > 200_000, "a flood")
        asking = await request_session(doomed, "web2")
        assert doomed.process
        doomed.process.send_signal(signal.SIGTERM)
        for terminal in terminals:
            stack.push_async_callback(terminal.close)
            assert await terminal.closed() == 4503
            assert terminal.messages[-1] == {"type": "closing", "reason": "the broker is stopping", "retry_after": 5}
        assert await asyncio.to_thread(doomed.process.wait, 30 * SCALE) == 0
        deaf.socket.transport.abort()
    assert web2.agent and web2.agent.wait(30 * SCALE) == 255
    assert "the broker is stopping, retry after 5 s" in web2.agent_log
    assert "Traceback" not in doomed.log.read_text()

    doomed.start()
    for session in [*(terminal.id for terminal in terminals), asking["id"]]:
        assert doomed.session(session)["reason"] == "the broker is stopping"
    assert doomed.host("web2")["offline_reason"] == "the broker is stopping, retry after 5 s"


def test_who_is_at_ssh_is_told_when_to_come_back(doomed: Broker, web2: Machine, tmp_path: Path):
    command = known_client(tmp_path / "client", doomed).command(f"{LOGIN}@web2", options=("-tt",))
    shown = tmp_path / "shown"
    with shown.open("wb") as log, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as ssh:
        until(lambda: PROMPT in shown.read_bytes(), "the shell is there")
        doomed.stop()
        assert ssh.wait(30 * SCALE) == 255
    assert b"the broker is stopping, retry after 5 s" in shown.read_bytes()
    doomed.start()


async def test_an_agent_that_hangs(doomed: Broker, web2: Machine):
    """SIGSTOP: the connection stays up and nobody answers. Three missed keepalives of 1 s, then it is offline."""
    terminal = await open_terminal(doomed, "web2")
    await terminal.until(PROMPT)
    assert web2.agent
    web2.agent.send_signal(signal.SIGSTOP)
    assert await terminal.closed() == 4412
    assert terminal.close_reason == "the tunnel of web2 was lost: no sign of life from the agent"
    web2.wait_online(False)
    assert doomed.host("web2")["offline_reason"] == "no sign of life from the agent"
    web2.agent.send_signal(signal.SIGCONT)
    assert web2.agent.wait(30 * SCALE) == 255
    web2.start_agent()
    web2.wait_online()


async def test_a_database_that_another_process_has_locked(doomed: Broker, web2: Machine):
    """For 3 s nobody else may write. Terminals need no database; what does waits and then goes on."""
    async with shell(doomed, "web2") as terminal:
        database = sqlite3.connect(doomed.data_dir / "brokerd.sqlite3", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(request_session(doomed, "web2"))
        locked_until = time.monotonic() + 3
        number = 0
        while time.monotonic() < locked_until:
            number += 1
            await terminal.run(f"echo number $(({number} + 1000)).")
            await terminal.until(f"number {number + 1000}.".encode(), 10)
        assert number > 2
        assert not opening.done()
        database.execute("ROLLBACK")
        database.close()
        opened = await opening
        assert doomed.session(opened["id"])["state"] == "live"
        assert doomed.is_online("web2")
        await terminal.ping()
        assert "locked" not in doomed.log.read_text()
