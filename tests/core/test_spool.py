"""`tunnels.spool`: what happens while the database is away is on record afterwards, all of it, once, in order."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, transaction

from terminals.company import News
from terminals.recording.digest import Sealed
from terminals.seats import Basis, Seat, Via
from terminals.sessions import end_session, note_refusal, note_transfers
from tests.core.rows import give, session_row
from tests.core.waiting import PATIENCE_S, until
from tests.people.helpers import make_host
from tunnels import audit, presence, spool
from tunnels.audit import Actor, Event
from tunnels.errors import DatabaseAway
from tunnels.models import AuditEvent
from tunnels.spool import Fact, Spool

pytestmark = pytest.mark.django_db(transaction=True)
is_there = True


@spool.fact
@transaction.atomic
def happened(*, number: int) -> None:
    if not is_there:
        raise OperationalError("unable to open database file")
    if number < 0:
        raise ValueError("a fact that nobody understands")
    audit.record(Event.SETTING_CHANGED, number=number)


def reachable(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setitem(globals(), "is_there", there)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spool, "RETRY_S", 0.05)
    monkeypatch.setattr(spool, "PROMPT_S", 0.2)
    return tmp_path / spool.NAME


def numbers() -> list[int]:
    events = AuditEvent.objects.filter(event="setting.changed").order_by("sequence")
    return [entry.detail["number"] for entry in events]


async def written() -> list[int]:
    return await asyncio.to_thread(numbers)


def as_fact(number: int) -> Fact:
    return Fact(f"{__name__}.happened", {"number": number})


async def test_while_all_is_well_nothing_is_kept(path, monkeypatch):
    monkeypatch.setattr(spool, "PROMPT_S", PATIENCE_S)
    async with Spool(path):
        await spool.keep(happened, number=1)
        assert await written() == [1]
        assert not path.exists()


async def test_all_that_happens_meanwhile_is_written_once_and_in_order(path, monkeypatch):
    async with Spool(path):
        reachable(monkeypatch, False)
        for number in range(20):
            await spool.keep(happened, number=number)
        assert len(path.read_text().splitlines()) == 20 and stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await written() == []
        reachable(monkeypatch, True)
        await until(lambda: not path.exists(), "written")
        assert await written() == list(range(20))
        event = await AuditEvent.objects.filter(event="setting.changed").afirst()
        assert event and event.detail["happened"] <= event.time.isoformat(), "it says when it was"
        await spool.keep(happened, number=20)
    assert await written() == list(range(21))


async def test_killed_meanwhile_it_is_written_at_the_next_start(path, monkeypatch):
    reachable(monkeypatch, False)
    async with Spool(path) as killed:
        await asyncio.gather(*(spool.keep(happened, number=number) for number in range(5)))
        left = path.read_bytes()
        killed._task.cancel()
    reachable(monkeypatch, True)
    path.write_bytes(left + b'{"id": "torn')
    async with Spool(path):
        assert await written() == list(range(5)) and not path.exists()


async def test_killed_between_the_database_and_the_file_it_is_not_written_twice(path):
    facts = [as_fact(number) for number in range(3)]
    async with Spool(path) as one:
        await one.keep(facts[0])
        await one.keep(facts[1])
    path.write_text("".join(each.line() for each in facts))
    async with Spool(path):
        pass
    assert await written() == [0, 1, 2]
    assert await asyncio.to_thread(lambda: audit.verify(AuditEvent.objects.order_by("sequence"))) is None


async def test_a_database_that_is_slow_to_fail_keeps_nobody_waiting(path, monkeypatch):
    answers = threading.Event()
    async with Spool(path) as made:
        asking = asyncio.ensure_future(made.ask(partial(answers.wait, PATIENCE_S)))
        await asyncio.sleep(0)
        await spool.keep(happened, number=1)
        assert not answers.is_set() and len(path.read_text().splitlines()) == 1
        answers.set()
        await asking
        await until(lambda: not path.exists(), "written")
    assert await written() == [1]


async def test_what_asks_for_an_answer_has_its_turn_and_is_refused_at_once_while_it_is_away(path, monkeypatch):
    async with Spool(path) as made:
        await asyncio.gather(spool.keep(happened, number=1), spool.ask(happened, number=2))
        assert await written() == [1, 2]
        reachable(monkeypatch, False)
        await spool.keep(happened, number=3)
        await until(lambda: made._is_away)
        with pytest.raises(DatabaseAway):
            async with asyncio.timeout(spool.RETRY_S / 2):
                await spool.ask(happened, number=4)
        reachable(monkeypatch, True)
        await until(lambda: not path.exists(), "back")
        with pytest.raises(ValueError):
            await spool.ask(happened, number=-1)
    assert await written() == [1, 2, 3]


async def test_a_fact_that_can_never_be_written_holds_up_no_other(path, caplog):
    async with Spool(path):
        await asyncio.gather(*(spool.keep(happened, number=number) for number in (1, -1, 2)))
    assert await written() == [1, 2]


async def test_it_is_bounded_and_says_what_it_drops(path, monkeypatch, capfd):
    monkeypatch.setattr(spool, "MOST", 3)
    reachable(monkeypatch, False)
    async with Spool(path):
        await asyncio.gather(*(spool.keep(happened, number=number) for number in range(5)))
        reachable(monkeypatch, True)
        await until(lambda: not path.exists(), "back")
    assert await written() == [0, 1, 2]


async def test_a_disk_that_takes_nothing_loses_nothing(path, monkeypatch):
    path.mkdir()
    made = Spool(path / "missing" / spool.NAME)
    async with made:
        reachable(monkeypatch, False)
        await spool.keep(happened, number=1)
        await spool.keep(happened, number=2)
        reachable(monkeypatch, True)
        await until(lambda: len(made) == 0, "back")
    assert await written() == [1, 2]


async def test_without_a_node_it_is_the_act_itself():
    await spool.keep(happened, number=1)
    assert await written() == [1]
    with pytest.raises(ValueError):
        await spool.keep(happened, number=-1)


# What is kept


SEAT = Seat(name="eve", via=Via.SHARE, is_guest=True, basis=Basis(address="192.0.2.1", share=uuid4()))
KEPT = [
    (presence.close_tunnel, {"host_id": uuid4(), "epoch": 3, "reason": "gone"}),
    (note_refusal, {"event": Event.SESSION_REFUSED, "actor": Actor("alice", "192.0.2.1"), "reason": "no"}),
    (note_transfers, {"session_id": uuid4(), "files": [{"path": "/x", "bytes": 3, "complete": True}]}),
    (end_session, {"session_id": uuid4(), "reason": "over", "recording": Sealed("a", "b", 1, 2, 3.5, "", True)}),
    (end_session, {"session_id": uuid4(), "reason": "over", "recording": None, "bytes_in": 5}),
]


@pytest.mark.parametrize(("act", "arguments"), KEPT, ids=[act.__name__ for act, _ in KEPT])
def test_arguments_come_back_as_they_were(act, arguments):
    one = Fact(f"{act.__module__}.{act.__name__}", arguments, uuid4(), datetime(2026, 1, 31, tzinfo=UTC))
    assert Fact.parse(one.line()) == one
    assert one.line().count("\n") == 1


def test_only_what_is_meant_to_be_kept_is_done():
    line = {"id": str(uuid4()), "at": "2026-01-31T00:00:00+00:00", "act": "os.system", "arguments": {"command": "id"}}
    with pytest.raises(KeyError):
        Fact.parse(json.dumps(line))


def test_a_session_that_ended_meanwhile_ended_when_it_did(alice):
    web1 = make_host("web1")
    give(alice, web1, "root")
    row = session_row(alice, web1)
    then = datetime(2026, 1, 31, tzinfo=UTC)
    ended = Fact("terminals.sessions.end_session", {"session_id": row.pk, "reason": "over"}, UUID(int=7), then)
    joined = Fact(
        "terminals.sessions.note_company",
        {"session_id": row.pk, "news": News.JOINED, "seat": SEAT, "role": "watcher"},
    )
    for _ in range(2):
        ended.write(is_late=True)
    Fact.parse(joined.line()).write(is_late=True)
    row.refresh_from_db()
    assert row.ended_at == then
    entries = list(AuditEvent.objects.filter(session=str(row.pk)).order_by("sequence"))
    assert [entry.event for entry in entries] == ["session.ended", "session.joined"]
    assert entries[0].pk == UUID(int=7) and entries[0].detail["happened"] == then.isoformat()
    assert entries[1].detail["guest"] == "eve"
