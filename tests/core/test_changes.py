"""`tunnels.changes`: whoever commits, listeners run; whatever fails, they run again."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from itertools import pairwise

import pytest
from django.db import OperationalError

from tests.core.agent import in_database
from tests.core.waiting import until
from tests.people.helpers import make_host
from tunnels import audit, changes
from tunnels.audit import Actor
from tunnels.changes import ChangeFeed
from tunnels.hosts import rename_host

pytestmark = pytest.mark.django_db(transaction=True)


class Listener:
    def __init__(self, *errors: Exception) -> None:
        self.rounds = 0
        self.errors = list(errors)

    async def __call__(self) -> None:
        self.rounds += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def rename(db):
    host = make_host("web1")
    return partial(rename_host, host=host, actor=Actor("admin"))


@pytest.fixture
def no_poll(monkeypatch):
    """Only hints count."""
    monkeypatch.setattr(changes, "POLL_S", 60)


@pytest.fixture
def fast_poll(monkeypatch):
    monkeypatch.setattr(changes, "POLL_S", 0.02)


async def test_everyone_is_told_once_before_it_begins():
    listener = Listener()
    async with ChangeFeed(listener):
        assert listener.rounds == 1


async def test_a_failure_at_the_start_is_raised_and_leaves_no_listener():
    before = set(audit._listeners)
    with pytest.raises(ExceptionGroup):
        async with ChangeFeed(Listener(RuntimeError("database is away"))):
            pass
    assert audit._listeners == before


async def test_a_commit_of_this_process_is_told_at_once(rename, no_poll):
    listener = Listener()
    async with ChangeFeed(listener):
        await in_database(rename)(name="web2")
        await until(lambda: listener.rounds == 2)


async def test_a_commit_in_another_thread(rename, no_poll):
    listener = Listener()
    async with ChangeFeed(listener):
        thread = threading.Thread(target=in_own_connection, args=(partial(rename, name="web2"),))
        thread.start()
        await until(lambda: listener.rounds == 2)
        thread.join()


async def test_a_commit_of_another_process_is_found_by_polling(rename, fast_poll, monkeypatch):
    monkeypatch.setattr(changes, "REGULAR_S", 60)
    listener = Listener()
    async with ChangeFeed(listener):
        await until(lambda: listener.rounds == 2)  # the first poll: it has not looked before
        monkeypatch.setattr(audit, "announce", lambda: None)  # nobody here hears of it
        await in_database(rename)(name="web2")
        await until(lambda: listener.rounds == 3)
        await asyncio.sleep(0.1)
        assert listener.rounds == 3, "nothing changed since"


async def test_a_refused_act_is_a_change_too_and_a_rolled_back_one_is_not(rename, fast_poll, monkeypatch):
    monkeypatch.setattr(changes, "REGULAR_S", 60)
    listener = Listener()
    async with ChangeFeed(listener):
        await until(lambda: listener.rounds == 2)
        with pytest.raises(ZeroDivisionError):
            await in_database(fail_inside)(rename)
        await asyncio.sleep(0.1)
        assert listener.rounds == 2


def fail_inside(rename) -> None:
    from django.db import transaction

    with transaction.atomic():
        rename(name="web3")
        _ = 1 / 0


async def test_a_listener_that_fails_does_not_undo_or_break_what_was_committed(rename):
    def fail() -> None:
        raise RuntimeError("loop is closed")

    unsubscribe = audit.subscribe(fail)
    try:
        host = await in_database(rename)(name="web2")
    finally:
        unsubscribe()
    assert host.name == "web2" and await in_database(audit.newest_sequence)() == 1


async def test_a_regular_round_for_what_changes_by_the_clock(fast_poll, monkeypatch):
    monkeypatch.setattr(changes, "REGULAR_S", 0.05)
    listener = Listener()
    async with ChangeFeed(listener):
        await until(lambda: listener.rounds >= 5)


def test_a_clock_boundary_is_met_within_five_seconds():
    assert changes.REGULAR_S + changes.POLL_S <= 5


async def test_a_listener_that_fails_keeps_neither_the_others_nor_itself_from_running(rename, fast_poll, monkeypatch):
    monkeypatch.setattr(changes, "REGULAR_S", 60)
    broken, fine = Listener(), Listener()
    async with ChangeFeed(broken, fine):
        await until(lambda: fine.rounds == 2)
        broken.errors = [RuntimeError("oh"), RuntimeError("no")]
        await in_database(rename)(name="web2")
        await until(lambda: not broken.errors, "it is tried again although nothing changed since")
        await until(lambda: fine.rounds == broken.rounds >= 5)


async def test_a_database_that_is_away_does_not_end_it(rename, fast_poll, monkeypatch):
    monkeypatch.setattr(changes, "REGULAR_S", 60)
    is_away, failed, listener = False, [], Listener()

    def newest() -> int:
        if is_away:
            failed.append(1)
            raise OperationalError("disk I/O error")
        return audit.newest_sequence()

    async with ChangeFeed(listener, marker=newest):
        await until(lambda: listener.rounds == 2)
        is_away = True
        await until(lambda: len(failed) > 1, "it asks again and again")
        assert listener.rounds == 2
        is_away = False
        await until(lambda: listener.rounds == 3, "whatever may have happened meanwhile")


async def test_leaving_ends_the_task_and_the_subscription(rename):
    before = set(audit._listeners)
    async with ChangeFeed(Listener()) as feed:
        assert len(audit._listeners) == len(before) + 1
    assert audit._listeners == before and feed._task.done()
    await in_database(rename)(name="web2")


def in_own_connection(work) -> None:
    from django.db import connection

    try:
        work()
    finally:
        connection.close()


async def test_rounds_take_at_most_half_of_the_time(no_poll):
    """However often something changes, and however long a round takes: the terminals need the other half."""
    loop, rounds = asyncio.get_running_loop(), []

    async def slow() -> None:
        begun = loop.time()
        await asyncio.sleep(0.05)
        rounds.append((begun, loop.time()))

    async with ChangeFeed(slow) as feed:
        while len(rounds) < 5:
            feed._seen = -1
            feed._hint.set()
            await asyncio.sleep(0.001)
    for (begun, over), (next_begun, _) in pairwise(rounds[1:]):
        assert next_begun - over >= 0.9 * (over - begun)
