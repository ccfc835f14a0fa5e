"""200 terminals at once, with somebody typing in each, and nothing left behind once they are closed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.story.broker import Broker, running, soon
from tests.story.machine import PROMPT, Machine, machine, terminal_grant
from tests.story.terminal import Terminal, open_terminal

pytestmark = pytest.mark.sshd
PEOPLE = ("alice", "bob", "charlie", "dora")
HOSTS = ("many1", "many2")
EACH = 25
"""Terminals of each person on each host: 200 in all."""
ROUNDS = 3
AT_ONCE = 16
"""Requests for a new terminal under way."""
MOST_KEPT = 32 * 1024 * 1024
"""By Python's allocator, which has held 200 terminals: for the next ones."""
MOST_GROWN = 4 * 1024 * 1024
"""By these next ones, then."""


LOOKS = 40


@dataclass(frozen=True)
class Figures:
    tasks: int
    descriptors: int
    rss: int

    @classmethod
    def of(cls, broker: Broker) -> Figures:
        assert broker.process
        text = broker.call("GET", "/metrics").body.decode()
        tasks = re.search(r"^brokerd_asyncio_tasks (\d+)", text, re.MULTILINE)
        assert tasks
        return cls(int(tasks[1]), descriptors(broker.process.pid), broker.rss())


def descriptors(pid: int) -> int:
    """But for those of the database's own file: SQLite cannot close them while another connection holds a lock, and
    keeps as many for the next ones as were ever open at once. A connection that is left open shows by its log's."""
    names = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it is closed meanwhile
            names.append(file.readlink().name)
    return sum(name != "brokerd.sqlite3" for name in names)


@pytest.fixture(scope="module")
def busy_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("busy") / "data", BROKERD_SESSION_GRACE="4") as broker:
        yield broker


@pytest.fixture(scope="module")
def hosts(busy_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    folder = tmp_path_factory.mktemp("machines")
    with machine(folder, HOSTS[0], busy_broker) as one, machine(folder, HOSTS[1], busy_broker) as two:
        for each in (one, two):
            each.bring_up(*(terminal_grant(person) for person in PEOPLE))
        yield [one, two]


async def open_many(broker: Broker, each: int) -> list[Terminal]:
    room = asyncio.Semaphore(AT_ONCE)

    async def open_one(host: str, person: str) -> Terminal:
        async with room:
            terminal = await open_terminal(broker, host, person=person)
            await terminal.until(PROMPT, 40)
            return terminal

    async with asyncio.TaskGroup() as tasks:
        wanted = [(host, person) for host in HOSTS for person in PEOPLE for _ in range(each)]
        opening = [tasks.create_task(open_one(*one)) for one in wanted]
    return [task.result() for task in opening]


async def type_in_all(terminals: list[Terminal]) -> None:
    """A key at a time, each its own command, and the answer of each in its own terminal."""

    async def type_in(number: int, terminal: Terminal) -> None:
        for turn in range(ROUNDS):
            for key in f"echo =$(({number} * 1000 + {turn}))=\r".encode():
                await terminal.send(bytes([key]))
                await asyncio.sleep(0.01)
            await terminal.until(f"={number * 1000 + turn}=".encode(), 40)

    await asyncio.gather(*(type_in(number, terminal) for number, terminal in enumerate(terminals)))


async def close_all(broker: Broker, terminals: list[Terminal], *, leave: bool) -> None:
    """By the program, by an admin, and (`leave`) by a browser that goes and does not come back."""
    exited, deleted, left = terminals[::3], terminals[1::3], terminals[2::3]
    if leave:
        for terminal in left:
            await terminal.drop()
    else:
        exited = exited + left
    for terminal in exited:
        await terminal.run("exit")
    for terminal in deleted:
        await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "admin", 204)
    assert {await terminal.closed() for terminal in exited} == {1000}
    assert {await terminal.closed() for terminal in deleted} == {4410}


async def settled(broker: Broker, most: Figures | None = None) -> Figures:
    """The figures once no terminal is left: as soon as they are no more than `most`, else the least of some looks,
    since the broker does a little something all the time."""
    seen: list[Figures] = []

    def is_settled() -> bool:
        if broker.api("GET", "/sessions?live=1")["items"]:
            return False
        seen.append(Figures.of(broker))
        if most is not None:
            return seen[-1].tasks <= most.tasks and seen[-1].descriptors <= most.descriptors
        return len(seen) >= LOOKS

    await soon(is_settled, f"back to {most}", 60)
    if most is not None:
        return seen[-1]
    tasks, descriptors = (min(getattr(one, name) for one in seen) for name in ("tasks", "descriptors"))
    return Figures(tasks, descriptors, seen[-1].rss)


async def wave(broker: Broker, each: int, before: Figures | None = None, *, leave: bool = False) -> Figures:
    """The figures after so many terminals of each person on each host: those of `before`, but for the memory."""
    terminals = await open_many(broker, each)
    assert len({terminal.id for terminal in terminals}) == len(HOSTS) * len(PEOPLE) * each
    await type_in_all(terminals)
    assert not any("gap" in terminal.kinds for terminal in terminals)
    await close_all(broker, terminals, leave=leave)
    return await settled(broker, before)


async def test_200_terminals(busy_broker: Broker, hosts: list[Machine]):
    # A few first, so that what is made once and kept does not count.
    before = await wave(busy_broker, 1)
    after = await wave(busy_broker, EACH, before, leave=True)
    assert after.rss - before.rss < MOST_KEPT
    again = await wave(busy_broker, 4, before)
    assert again.rss - after.rss < MOST_GROWN
    await soon(lambda: [host.connections for host in hosts] == [0, 0], "no connection to a host is left")
    log = busy_broker.log.read_text()
    assert "[error" not in log and "Traceback" not in log
