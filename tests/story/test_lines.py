"""Which terminals share an SSH connection to a host, counted by a real sshd."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.accounts import Account, account
from tests.story.broker import Broker, soon
from tests.story.machine import LOGIN, PROMPT, Machine, terminal_grant
from tests.story.terminal import Terminal, open_terminal, shell

pytestmark = pytest.mark.sshd
BOTH = (terminal_grant("alice"), terminal_grant("bob"))


@pytest.fixture
def person() -> Iterator[Account]:
    with account() as made:
        yield made


def logins(machine: Machine) -> list[str]:
    """The key ids of the certificates that opened a connection."""
    return re.findall(rf"Accepted publickey for {LOGIN} from .* ID (.*) \(serial", machine.sshd_log)


async def works(terminal: Terminal) -> None:
    """Its shell answers with more than the echo of the question."""
    before = terminal.output.count(b"answer 42\r\n")
    await terminal.run("echo answer $((6 * 7))")
    await terminal.wait(lambda: terminal.output.count(b"answer 42\r\n") > before, "the shell answers")


async def end(broker: Broker, terminal: Terminal, person: str = "alice") -> None:
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, person, 204)


async def test_one_login_for_the_terminals_of_one_person(broker: Broker, fresh: Machine):
    fresh.bring_up(*BOTH)
    async with shell(broker, fresh.name) as one, shell(broker, fresh.name) as two:
        await one.run("echo only the fir''st")
        await one.until(b"only the first")
        await works(two)
        assert b"only the first" not in two.output
        assert logins(fresh) == [f"alice session {one.id}"]
        async with shell(broker, fresh.name, person="bob") as three:
            await works(three)
            assert logins(fresh) == [f"alice session {one.id}", f"bob session {three.id}"]
        await soon(lambda: fresh.connections == 1, "bob's connection is closed")
    await soon(lambda: fresh.connections == 0, "no connection is left behind")
    async with shell(broker, fresh.name) as four:
        assert logins(fresh)[2:] == [f"alice session {four.id}"]


async def test_they_end_in_any_order(broker: Broker, fresh: Machine):
    """By itself, by its owner and by an admin: each ends its own shell only."""
    fresh.bring_up(*BOTH)
    one, two, three, four = [await open_terminal(broker, fresh.name) for _ in range(4)]
    for terminal in (one, two, three, four):
        await terminal.until(PROMPT)
    assert len(logins(fresh)) == 1
    await one.run("exit 3")
    assert await one.closed() == 1000
    await end(broker, three)
    assert await three.closed() == 1000
    await end(broker, two, "admin")
    assert await two.closed() == 4410
    await works(four)
    assert fresh.connections == 1
    await end(broker, four)
    await soon(lambda: fresh.connections == 0, "no connection is left behind")


async def test_the_shell_of_one_that_was_ended_is_gone_at_once(broker: Broker, fresh: Machine):
    """Not only when the last terminal closes the connection: a program that runs is hung up."""
    fresh.bring_up(*BOTH)
    async with shell(broker, fresh.name) as stays:
        goes = await open_terminal(broker, fresh.name)
        await goes.until(PROMPT)
        await goes.run("sleep 4242")
        await soon(lambda: runs(fresh, "sleep 4242"), "the program runs")
        await end(broker, goes)
        await soon(lambda: not runs(fresh, "sleep 4242"), "the program was hung up")
        await works(stays)


def runs(machine: Machine, command: str) -> bool:
    """Whether a program with these arguments runs below the machine's sshd."""
    assert machine.sshd
    todo = [machine.sshd.pid]
    while todo:
        pid = todo.pop()
        try:
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if line == command:
            return True
    return False


async def test_a_grant_that_goes_ends_its_persons_terminals_only(broker: Broker, fresh: Machine):
    fresh.bring_up(*BOTH)
    async with shell(broker, fresh.name) as stays:
        goes = [await open_terminal(broker, fresh.name, person="bob") for _ in range(2)]
        for terminal in goes:
            await terminal.until(PROMPT)
        [grant] = broker.api("GET", f"/grants?host={fresh.name}&person=bob")["items"]
        await asyncio.to_thread(broker.api, "DELETE", f"/grants/{grant['id']}", None, "admin", 204)
        assert [await terminal.closed() for terminal in goes] == [4403, 4403]
        await soon(lambda: fresh.connections == 1, "bob's connection is closed")
        await works(stays)


async def test_a_host_that_allows_one_session_in_a_connection(broker: Broker, fresh: Machine):
    fresh.bring_up(*BOTH, max_sessions=1)
    async with shell(broker, fresh.name) as one, shell(broker, fresh.name) as two, shell(broker, fresh.name) as three:
        for terminal in (one, two, three):
            await works(terminal)
            assert b"refused" not in terminal.output and b"failed" not in terminal.output
        assert logins(fresh) == [f"alice session {terminal.id}" for terminal in (one, two, three)]
    await soon(lambda: fresh.connections == 0, "no connection is left behind")


async def test_a_password_opens_one_terminal(broker: Broker, fresh: Machine, person: Account):
    """What a person typed in one terminal opens no other one, not even of the same person."""
    fresh.bring_up(terminal_grant("alice", person.login), ca=False, password=True)
    one, two = [await open_terminal(broker, fresh.name, person.login) for _ in range(2)]
    for terminal in (one, two):
        await terminal.until(b"password: ")
        await terminal.run(person.password)
        await terminal.until(b"$ ")
    three = await open_terminal(broker, fresh.name, person.login)
    await three.until(b"password: ")
    assert fresh.sshd_log.count("Accepted password") == 2
    for terminal in (one, two, three):
        await end(broker, terminal)
    await soon(lambda: fresh.connections == 0, "no connection is left behind")


async def test_how_far_away_the_host_is(broker: Broker, fresh: Machine):
    """`pong` carries it; the first one asks for it."""
    fresh.bring_up(*BOTH)
    async with shell(broker, fresh.name) as terminal:
        figures = []
        while not figures or figures[-1] is None:
            await terminal.ping()
            figures.append((await terminal.until_message("pong"))["tunnel_ms"])
        assert figures[0] is None and 0 < figures[-1] < 5000
