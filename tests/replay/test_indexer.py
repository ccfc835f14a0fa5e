"""Recordings are indexed by one process: after their end, at start, and when asked for; none holds up the rest."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from structlog.testing import capture_logs

from terminals.models import Recording, Session
from terminals.recording.store import path_of, root
from terminals.replay import indexer as indexing
from terminals.replay.files import facts_of
from terminals.replay.index import ENDING
from terminals.replay.indexer import Indexer, enqueue, unindexed
from terminals.replay.search import search
from terminals.replay.workshop import Lost, Workshop
from tests.people.helpers import Api, make_host

from .helpers import record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
WAIT_S = 60
PROGRAM = """
import os, sys, time
from pathlib import Path
from terminals.replay import build, search, worker

def note(name, text):
    with Path({folder!r}, name).open("a") as file:
        file.write(f"{{text}}\\n")

def is_there(name):
    return Path({folder!r}, name).exists()

store = search.store
def stored(folder, session_id, lines):
    note("order", session_id)
    meet(str(session_id))
    store(folder, session_id, lines)
search.store = stored
note("pids", os.getpid())
def meet(session): pass
{patch}
sys.argv = ["worker", sys.argv[-1]]
worker.main()
"""


class Worker:
    """The real one, but for what a test has it do where a recording is about to be kept (`meet`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def does(self, patch: str) -> None:
        (self.folder / "worker.py").write_text(PROGRAM.format(folder=str(self.folder), patch=patch))

    def noted(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in self.noted("pids")]

    def let_go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def worker(tmp_path, monkeypatch) -> Worker:
    made = Worker(tmp_path)
    made.does("")
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/worker.py "$@"\n')
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    return made


async def until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(probe):
            await asyncio.sleep(0.05)


def facts(session: Session):
    return facts_of(Recording(session=session))


def cast(session: Session) -> Path:
    return path_of(session.pk, session.started_at)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def made(alice, *names: str) -> list[Session]:
    """Without an index, each with a word of its own."""

    def make() -> list[Session]:
        for name in names:
            record(alice, make_host(name), [(0.0, "o", f"words{name}\r\n")], indexed=False)
        return list(Session.objects.filter(host__name__in=names).select_related("host").order_by("started_at"))

    return await sync_to_async(make)()


def is_found(session: Session) -> bool:
    return bool(search(root(), f"words{session.host.name}", [session.pk], 5))


def are_ready(sessions: list[Session]) -> bool:
    """Played and found."""
    return all(facts(session) and not facts(session).problem and is_found(session) for session in sessions)


async def test_left_over_ended_and_asked_for_by_one_process(alice, worker):
    before = await made(alice, "web1", "web2")
    async with Indexer():
        await until(lambda: are_ready(before))
        (after,) = await made(alice, "web3")  # its sealing tells the indexer
        await until(lambda: are_ready([after]))
        cast(after).with_name(f"{after.pk}{ENDING}").unlink()
        enqueue(after.pk)
        await until(lambda: facts(after))
    assert await sync_to_async(unindexed)() == []
    assert [file for file in cast(after).parent.iterdir() if "draft" in file.name] == []
    assert worker.noted("order") == [str(one.pk) for one in (*before, after, after)]
    assert len(worker.pids) == 1


def bomb(session: Session) -> None:
    """16 KB that become 512 MB: a zstd frame of blocks that each say 128 KiB times the same byte."""
    size = 128 * 1024
    block = ((1 << 1) | (size << 3)).to_bytes(3, "little") + b"x"
    with cast(session).open("ab") as file:
        file.write(b"\x28\xb5\x2f\xfd\x00\x58" + block * 4000)


async def test_one_that_takes_all_memory_is_given_up_and_holds_up_nobody(alice, worker):
    good, bad, behind = await made(alice, "web1", "web2", "web3")
    bomb(bad)
    worker.does("worker.MEMORY = 256 * 1024**2")
    with capture_logs() as logs:
        async with Indexer():
            await until(lambda: facts(bad))
            assert are_ready([good, behind])
    assert "could not be prepared" in facts(bad).problem
    assert not is_found(bad)
    assert await sync_to_async(unindexed)() == [], "nor is it tried at the next start"
    failed = [entry for entry in logs if entry["event"] == "indexing failed"]
    assert [(entry["session"], entry["again"]) for entry in failed] == [(str(bad.pk), True), (str(bad.pk), False)]
    assert "MemoryError" in failed[0]["error"]
    assert worker.noted("order") == [str(good.pk), str(behind.pk)], "those behind it come before it is tried again"
    assert len(worker.pids) == 2
    assert cast(bad).exists()


async def test_one_that_never_ends_is_ended_by_the_kernel(alice, worker):
    bad, good = await made(alice, "web1", "web2")
    worker.does(f"""
build.PROCESSOR_S = 0.3
def meet(session):
    while session == "{bad.pk}":
        pass
""")
    with capture_logs() as logs:
        async with Indexer():
            await until(lambda: facts(bad))
    assert "could not be prepared" in facts(bad).problem
    assert are_ready([good])
    ended = f"(exit status {-signal.SIGXCPU})"
    assert [entry["error"] for entry in logs if entry["event"] == "indexing failed"] == [ended, ended]


async def test_one_that_waits_for_ever_is_ended(alice, worker, monkeypatch):
    before, bad, behind = await made(alice, "web1", "web2", "web3")
    worker.does(f"""
def meet(session):
    if session == "{bad.pk}":
        time.sleep(600)
""")
    async with Workshop() as workshop:
        await workshop.index(cast(before), before.pk)
        with monkeypatch.context() as patch, pytest.raises(Lost, match="it took too long"):
            patch.setattr("terminals.replay.workshop.LONGEST_S", 0.5)
            await workshop.index(cast(bad), bad.pk)
        assert not is_running(worker.pids[0])
        await workshop.index(cast(behind), behind.pk)
    assert are_ready([before, behind])
    assert facts(bad) is None


async def test_a_worker_that_somebody_kills_costs_nothing(alice, worker):
    sessions = await made(alice, *(f"web{n}" for n in range(6)))
    worker.does(f"""
def meet(session):
    if session == "{sessions[2].pk}" and not is_there("met"):
        note("met", session)
        time.sleep(600)
""")
    async with Indexer():
        await until(lambda: worker.noted("met"))
        os.kill(worker.pids[0], signal.SIGKILL)
        await until(lambda: are_ready(sessions))
    assert len(worker.pids) == 2


async def test_one_that_is_killed_between_two_recordings_is_replaced(alice, worker, monkeypatch):
    (first,) = await made(alice, "web1")
    done, index = [], Workshop.index

    async def noting(workshop: Workshop, cast: Path, session_id: UUID) -> None:
        await index(workshop, cast, session_id)
        done.append(session_id)

    monkeypatch.setattr(Workshop, "index", noting)
    with capture_logs() as logs:
        async with Indexer():
            await until(lambda: done == [first.pk])
            os.kill(worker.pids[0], signal.SIGKILL)
            (second,) = await made(alice, "web2")
            await until(lambda: are_ready([second]))
    assert len(worker.pids) == 2
    assert {entry["session"] for entry in logs if entry["event"] == "indexing failed"} <= {str(second.pk)}


async def test_leaving_ends_the_worker(alice, worker):
    (session,) = await made(alice, "web1")
    worker.does("""
def meet(session):
    note("met", session)
    time.sleep(600)
""")
    async with Indexer():
        await until(lambda: worker.noted("met"))
    assert not is_running(worker.pids[0])
    assert facts(session) is None  # the next start does it


async def test_one_that_somebody_opens_comes_first(alice, worker):
    sessions = await made(alice, *(f"web{n}" for n in range(5)))
    worker.does("""
def meet(session):
    note("met", session)
    while not is_there("go"):
        time.sleep(0.05)
""")
    async with Indexer() as indexer:
        await until(lambda: worker.noted("met"))
        answer = await sync_to_async(lambda: Api(alice).get(f"/sessions/{sessions[4].pk}/replay"))()
        assert answer.json()["state"] == "preparing"
        await until(lambda: sessions[4].pk in indexer._asked)
        worker.let_go()
        await until(lambda: are_ready(sessions))
    assert worker.noted("order") == [str(sessions[n].pk) for n in (0, 4, 1, 2, 3)]


async def test_with_nothing_to_do_it_ends(alice, worker, monkeypatch):
    monkeypatch.setattr(indexing, "IDLE_S", 0.2)
    first, second = await made(alice, "web1", "web2")
    async with Indexer():
        await until(lambda: are_ready([first, second]))
        await until(lambda: not is_running(worker.pids[0]))
        (third,) = await made(alice, "web3")
        await until(lambda: are_ready([third]))
    assert not any(is_running(pid) for pid in worker.pids)


async def test_one_that_has_grown_is_replaced(alice, worker):
    sessions = await made(alice, "web1", "web2", "web3")
    worker.does("worker.KEPT = 0")
    with capture_logs() as logs:
        async with Indexer():
            await until(lambda: are_ready(sessions))
    assert len(worker.pids) == 3
    assert not [entry for entry in logs if entry["log_level"] == "error"]


def errors(logs: list) -> list[str]:
    return [entry["error"] for entry in logs if entry["event"] == "indexed with an error"]


async def test_what_cannot_be_searched_is_played(alice, worker):
    (session,) = await made(alice, "web1")
    (root() / "search.sqlite3").unlink(missing_ok=True)
    (root() / "search.sqlite3").write_bytes(b"damaged" * 1000)
    try:
        with capture_logs() as logs:
            async with Indexer():
                await until(lambda: facts(session))
                await until(lambda: errors(logs))
    finally:
        (root() / "search.sqlite3").unlink()
    assert facts(session).problem == ""
    assert "file is not a database" in errors(logs)[0]


async def test_it_may_do_and_knows_what_it_must(alice, worker):
    """Its lowest priority, its limits, and an environment in which there is no secret."""
    (session,) = await made(alice, "web1")
    worker.does("""
import resource
def meet(session):
    note("nice", os.nice(0))
    note("environ", " ".join(os.environ))
    note("limits", resource.getrlimit(resource.RLIMIT_AS)[0])
    note("limits", resource.getrlimit(resource.RLIMIT_CPU)[0])
    note("limits", resource.getrlimit(resource.RLIMIT_CORE)[0])
""")
    async with Indexer():
        await until(lambda: facts(session))
    assert worker.noted("nice") == ["19"]
    assert set(worker.noted("environ")) <= {"PYTHONPATH", "PWD", "LC_CTYPE", "OLDPWD", "SHLVL", "_"}
    space, processor, core = map(int, worker.noted("limits"))
    assert (space, core) == (2 * 1024**3, 0)
    assert 120 <= processor < 200, "twice what `build` allows itself, for this one"


async def test_a_recording_that_was_pruned_leaves_nothing(alice, worker):
    kept, pruned = await made(alice, "web1", "web2")
    worker.does(f"""
def meet(session):
    if session == "{pruned.pk}":
        for file in Path("{cast(pruned).parent}").glob(session + ".*"):
            file.unlink()
""")
    async with Indexer():
        await until(lambda: len(worker.noted("order")) == 2)
        (after,) = await made(alice, "web3")
        await until(lambda: are_ready([kept, after]))
    assert facts(pruned) is None
    assert not is_found(pruned)
    assert list(cast(pruned).parent.glob(f"{pruned.pk}.*")) == []
    assert len(worker.pids) == 1
