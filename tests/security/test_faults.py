"""What breaks around a broker: it is killed, its disk is full, its database is locked or gone, many write at once.

What people see meanwhile, that nothing is lost or shown that is not so, and that it goes on by itself afterwards.
Agents that hang, and a broker that is stopped, are in `tests/story/test_faults.py`; the clock in
`tests/core/test_clock.py`; disks under recordings in `tests/story/test_recording.py`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.agents import connected, enroll
from brokerd import conf
from brokerd.node import Node
from tests.effort import MINUTES
from tests.story.agent import AgentMachine, agent_machine
from tests.story.broker import ROOT, Broker, running, soon, until
from tests.story.browser import Browser
from tests.story.client import Client
from tests.story.disk import mounted
from tests.story.machine import LOGIN, keygen
from tests.story.terminal import Terminal, open_terminal
from tunnels.agent.backoff import Pace, delay_s
from tunnels.database import PATIENCE_S

GRANT = {"person": "alice", "logins": [LOGIN], "capabilities": ["terminal", "exec", "sftp"]}
LIGHT = 28
"""Agents beside the two that are real ones of ours."""
TERMINALS = 20
OUTAGE_S = 12
"""Longer than anybody waits for a lock, so that all that can happen in a minute happens."""
WRITERS = 50
WRITING_S = 60 * MINUTES or 10


@contextmanager
def host_of(broker: Broker, folder: Path, name: str = "bare1") -> Iterator[AgentMachine]:
    with agent_machine(folder, name, broker, "-F", "--login-shell") as made:
        made.bring_up(GRANT)
        yield made


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("faults") / "data", BROKERD_KEEPALIVE="2") as made:
        yield made


@pytest.fixture(scope="module")
def bare1(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMachine]:
    with host_of(broker, tmp_path_factory.mktemp("agents")) as made:
        yield made


async def say(terminal: Terminal, number: int, seconds: float = 20) -> None:
    """Type something, and see the answer of the shell."""
    await terminal.run(f"echo =$(({number} + 1000))=")
    await terminal.until(f"={number + 1000}=".encode(), seconds)


def is_whole(broker: Broker) -> None:
    """The database and the audit log, as SQLite and we check them."""
    with sqlite3.connect(broker.data_dir / "brokerd.sqlite3") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    done = broker.manage("verify_audit", "--recordings", check=False)
    assert done.returncode == 0, done.stderr


def online(broker: Broker) -> set[str]:
    return {host["name"] for host in broker.api("GET", "/hosts?state=approved&limit=1000")["items"] if host["online"]}


def ready(broker: Broker) -> dict[str, bool]:
    return broker.call("GET", "/readyz").json


# Killed


async def test_killed_with_30_agents_and_20_terminals(tmp_path: Path):
    with ExitStack() as stack:
        broker = stack.enter_context(running(tmp_path / "data"))
        ours = [stack.enter_context(host_of(broker, tmp_path, name)) for name in ("stray1", "stray2")]
        stage = SimpleNamespace(
            folder=tmp_path, broker=broker, server=SimpleNamespace(host_key=keygen(tmp_path / "host_key"))
        )
        come_back = stack.enter_context(connected(enroll(stage, LIGHT)))  # type: ignore[arg-type]
        everybody = {"stray1", "stray2", *(f"idle-{number}" for number in range(LIGHT))}
        await soon(lambda: online(broker) == everybody, "all are online", 60)

        async with AsyncExitStack() as open_ones:
            terminals = []
            for number in range(TERMINALS):
                terminal = await open_terminal(broker, ours[number % 2].name)
                open_ones.push_async_callback(terminal.close)
                terminals.append(terminal)
            await asyncio.gather(*(say(terminal, number, 60) for number, terminal in enumerate(terminals)))
            assert await asyncio.to_thread(broker.stop, signal.SIGKILL) == -signal.SIGKILL
            assert [await terminal.closed() for terminal in terminals] == [1006] * TERMINALS
        ours[1].stop()

        broker.start()
        shown = set[str]()

        def are_back() -> bool:
            shown.update(online(broker))
            return len(shown) == LIGHT + 1

        await soon(are_back, "all that live are back", 60)
        await asyncio.to_thread(come_back)
        assert shown == everybody - {"stray2"}, "who is gone was never shown online"
        assert broker.host("stray2")["offline_reason"] == "the broker stopped without closing it"

        rows = [broker.session(terminal.id) for terminal in terminals]
        assert {(row["state"], row["reason"]) for row in rows} == {("ended", "broker lost")}
        assert {row["recording"]["state"] for row in rows} == {"sealed"}
        assert broker.api("GET", "/sessions?live=1")["items"] == []
        again = await open_terminal(broker, "stray1")
        await say(again, 1)
        await again.close()
        is_whole(broker)


def test_by_default_a_stopped_agent_is_offline_in_45_s_and_back_in_30():
    """`tests/story/test_faults.py` and `test_agent_faults.py` stop real ones, with keepalives of a second."""
    node, pace = Node(conf.load({})), Pace()
    assert 4 * node.config.keepalive_s <= 45, "three without an answer, and the wait before the first"
    assert node.lease_s <= 45, "also where nobody is left to notice"
    assert sum(delay_s(attempt, 0.999, pace) for attempt in range(5)) <= 30, "with four tries that fail"


# Many at once


WRITER = f"""
import json, threading, time, traceback
from django.db import connection
from tunnels.audit import OPERATOR
from tunnels.tokens import create_enrollment_token, revoke_enrollment_token
done, errors = [0] * 10, []
def write(number):
    until = time.monotonic() + {WRITING_S}
    while time.monotonic() < until:
        try:
            token, _ = create_enrollment_token(name="many", actor=OPERATOR)
            revoke_enrollment_token(token=token, actor=OPERATOR)
            done[number] += 1
        except Exception:
            errors.append(traceback.format_exc(limit=-1))
    connection.close()
threads = [threading.Thread(target=write, args=[number]) for number in range(len(done))]
for each in threads: each.start()
for each in threads: each.join()
print(json.dumps([done, errors]))
"""


async def test_50_who_write_at_once_and_nobody_hears_of_a_lock(broker: Broker, bare1: AgentMachine):
    """Threads of four other processes and clients of the portal, while somebody types. `TEST_MINUTES=1` for as long."""
    terminal = await open_terminal(broker, "bare1")
    await say(terminal, 0)
    before = len(broker.log.read_text())
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", WRITER],
            cwd=ROOT,
            env=broker.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    statuses: list[int] = []
    slowest: list[float] = []

    def write_by_rest() -> int:
        body = {"person": "bob", "all_hosts": True, "logins": ["nobody"]}
        times = [0.0]
        while any(process.poll() is None for process in processes):
            began = time.monotonic()
            made = broker.call("POST", "/api/v1/grants", body, "admin")
            times.append(time.monotonic() - began)
            statuses.append(made.status)
            if made.status == 201:
                statuses.append(broker.call("DELETE", f"/api/v1/grants/{made.json['id']}", None, "admin").status)
        slowest.append(max(times))
        return len(times) - 1

    with ThreadPoolExecutor(WRITERS - 40) as threads:
        clients = [asyncio.get_running_loop().run_in_executor(threads, write_by_rest) for _ in range(WRITERS - 40)]
        number = 0
        while any(process.poll() is None for process in processes):
            number += 1
            await say(terminal, number)
            await asyncio.sleep(0.2)
        done = [await asyncio.gather(*clients)]
    for process in processes:
        counts, errors = json.loads(process.communicate()[0])
        assert errors == []
        done.append(counts)
    print(f"slowest request {max(slowest):.1f} s; done by each writer of each process:", *done, sep="\n")
    assert set(statuses) == {201, 204}
    assert "locked" not in broker.log.read_text()[before:]
    for counts in done:
        assert 0 < max(counts) <= 2 * min(counts), "those of one process have their turns alike"
    await terminal.close()
    is_whole(broker)


# The database away


def lock(broker: Broker) -> Callable[[], None]:
    """Another process that holds on to it; answers what ends it."""
    holder = sqlite3.connect(broker.data_dir / "brokerd.sqlite3", isolation_level=None, timeout=30)
    holder.execute("BEGIN EXCLUSIVE")

    def release() -> None:
        holder.execute("ROLLBACK")
        holder.close()

    return release


def lock_for_readers_too(broker: Broker) -> Callable[[], None]:
    """By a lock on the file itself, as of a backup program or of SQLite's other locking mode."""
    path = broker.data_dir / "brokerd.sqlite3"
    script = (
        "import fcntl, sys\n"
        "shm = open(sys.argv[1] + '-shm', 'r+b')\n"
        "fcntl.lockf(shm, fcntl.LOCK_EX, 8, 120)\n"  # WAL_WRITE_LOCK and all after it, see walformat.html, 2.3
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"

    def release() -> None:
        holder.communicate("")

    return release


def take_away(broker: Broker) -> Callable[[], None]:
    """The file is somewhere else for a while."""
    path = broker.data_dir / "brokerd.sqlite3"
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)

    def give_back() -> None:
        assert not path.exists(), "no new one was made in its place"
        elsewhere.rename(path)

    return give_back


@pytest.mark.parametrize("take", [lock, lock_for_readers_too, take_away], ids=lambda take: take.__name__)
async def test_a_database_that_is_away(
    broker: Broker, bare1: AgentMachine, tmp_path: Path, take: Callable[[Broker], Callable[[], None]]
):
    """Live terminals go on, nobody new is let in, and what happens meanwhile is on record afterwards, in order."""
    alice = Client(tmp_path / "alice", broker, "alice")
    alice.add_key()
    until(lambda: alice.ssh("alice").returncode == 0, "the gateway knows the key", 60)
    browser = Browser(broker).log_in("alice")
    assert browser.call("GET", "/").status == 200
    with host_of(broker, tmp_path, f"other-{take.__name__.replace('_', '-')}") as other:
        lives, ends = await open_terminal(broker, "bare1"), await open_terminal(broker, "bare1")
        cut = await open_terminal(broker, other.name)
        for terminal in (lives, ends, cut):
            await say(terminal, 1)
        before = broker.audit("session.ended")

        give_back = take(broker)
        away_since = time.time()
        ended_at = time.monotonic() + OUTAGE_S
        try:
            await say(lives, 2)
            await ends.run("exit")
            assert await ends.closed() == 1000, "nobody waits for the database to be told of the end"
            other.stop()
            assert await cut.closed() == 4412
            await soon(lambda: not ready(broker)["database"], "it says so itself")
            refused = await asyncio.to_thread(
                broker.call, "POST", "/api/v1/sessions", {"host": "bare1", "login": LOGIN}, "alice"
            )
            assert (refused.status, refused.headers["Content-Type"]) == (503, "application/problem+json")
            assert refused.headers["Retry-After"] and "the broker's database is away" in refused.json["detail"]
            page = await asyncio.to_thread(browser.call, "GET", "/")
            assert page.status == 503 and b"database is away" in page.body and b"Traceback" not in page.body
            stock = await asyncio.to_thread(alice.ssh, f"{LOGIN}@bare1", "true")
            assert stock.returncode == 255 and b"the broker's database is away" in stock.stderr, stock.stderr
            assert broker.call("GET", "/healthz").status == 200
            number = 2
            while time.monotonic() < ended_at:
                number += 1
                await say(lives, number, PATIENCE_S - 1)  # so nothing of theirs waits for a lock
                await asyncio.sleep(0.2)
        finally:
            give_back()
        back_at = time.time()

        await soon(lambda: all(ready(broker).values()), "it is back by itself")
        await soon(lambda: not (broker.data_dir / "spool.jsonl").exists(), "what was kept is written")
        ended = [event for event in broker.audit("session.ended") if event not in before][::-1]
        assert [event["session"] for event in ended] == [ends.id, cut.id], "each once, in order"
        for event in ended:
            assert event["detail"]["recording"]["state"] == "sealed"
        row = broker.session(ends.id)
        assert (row["state"], row["recording"]["state"]) == ("ended", "sealed")
        assert away_since - 1 < stamp(row["ended"]) < back_at, "it ended when it did, not when that could be written"
        closed = [event for event in broker.audit("tunnel.closed") if event["host"] == other.name]
        assert len(closed) == 1 and "happened" in closed[0]["detail"]
        await soon(lambda: broker.is_online("bare1"), "its lease is renewed")
        assert not broker.is_online(other.name)
        await say(lives, 3000)
        again = await open_terminal(broker, "bare1")
        await say(again, 1)
        # Changes are heard of again.
        await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{again.id}", None, "admin", 204)
        assert await again.closed() == 4410
        await lives.run("exit")
        assert await lives.closed() == 1000
        is_whole(broker)


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_killed_while_its_database_is_away(broker: Broker, bare1: AgentMachine):
    ends, lost = await open_terminal(broker, "bare1"), await open_terminal(broker, "bare1")
    for terminal in (ends, lost):
        await say(terminal, 1)
    release = lock(broker)
    try:
        await ends.run("exit 3")
        assert await ends.closed() == 1000
        kept = broker.data_dir / "spool.jsonl"
        await soon(kept.exists, "it is on the disk")
        assert kept.stat().st_mode & 0o777 == 0o600
        assert broker.stop(signal.SIGKILL) == -signal.SIGKILL
    finally:
        release()
    broker.start()
    assert broker.session(lost.id)["reason"] == "broker lost"
    ended = [event for event in broker.audit("session.ended") if event["session"] == ends.id]
    assert len(ended) == 1 and ended[0]["detail"]["reason"] != "broker lost"
    assert ended[0]["detail"]["recording"]["state"] == "sealed" and ended[0]["detail"]["happened"]
    assert not kept.exists()
    bare1.wait_online(seconds=60)
    is_whole(broker)


# Disks


async def test_the_disk_of_database_and_log_is_full(tmp_path: Path):
    """Terminals that are not recorded go on; nothing new opens, and it goes on by itself when there is room."""
    with mounted(tmp_path / "data", 24 * 1024 * 1024) as disk, ExitStack() as stack:
        broker = stack.enter_context(running(disk.folder, BROKERD_KEEPALIVE="2", BROKERD_RECORDING="off"))
        stack.enter_context(host_of(broker, tmp_path))
        lives, ends = await open_terminal(broker, "bare1"), await open_terminal(broker, "bare1")
        for terminal in (lives, ends):
            await say(terminal, 1)
        disk.fill()
        await soon(lambda: not ready(broker)["database"], "it says so itself")
        refused = await asyncio.to_thread(
            broker.call, "POST", "/api/v1/sessions", {"host": "bare1", "login": LOGIN}, "alice"
        )
        assert refused.status == 503 and refused.headers["Retry-After"], refused.body
        await ends.run("exit")
        assert await ends.closed() == 1000
        for number in range(2, 12):
            await say(lives, number)
            broker.call("GET", "/no-such-page")  # which is a line of the log
            await asyncio.sleep(0.3)
        assert broker.process and broker.process.poll() is None

        disk.empty()
        await soon(lambda: all(ready(broker).values()), "it is back by itself")
        await soon(lambda: broker.session(ends.id)["state"] == "ended", "its end is on record")
        again = await open_terminal(broker, "bare1")
        await say(again, 1)
        await say(lives, 100)
        assert len([event for event in broker.audit("session.ended") if event["session"] == ends.id]) == 1
        is_whole(broker)


async def test_the_disk_of_everything_is_full_and_terminals_must_be_recorded(tmp_path: Path):
    """Those that are open end with the reason, as none may go on unrecorded; the rest as above."""
    with mounted(tmp_path / "data", 24 * 1024 * 1024) as disk, ExitStack() as stack:
        broker = stack.enter_context(running(disk.folder, BROKERD_KEEPALIVE="2"))
        stack.enter_context(host_of(broker, tmp_path))
        terminal = await open_terminal(broker, "bare1")
        await say(terminal, 1)
        disk.fill()
        await terminal.run("od /dev/urandom | head -c 4000000")
        assert await terminal.closed(20) == 4500
        assert terminal.close_reason == "this terminal could not be recorded: no space left on device"
        await soon(lambda: not any((ready(broker)["database"], ready(broker)["recordings"])), "it says so itself")
        refused = await asyncio.to_thread(
            broker.call, "POST", "/api/v1/sessions", {"host": "bare1", "login": LOGIN}, "alice"
        )
        assert refused.status == 503 and "Traceback" not in refused.body.decode()
        disk.empty()
        await soon(lambda: all(ready(broker).values()), "it is back by itself")
        await soon(lambda: broker.session(terminal.id)["state"] == "ended", "its end is on record")
        again = await open_terminal(broker, "bare1")
        await say(again, 1)
        is_whole(broker)
