"""`tunnels.sqlite`: who wants to write waits in a queue, who reads does not, and nothing is held on to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections, transaction

from tests.story.broker import until
from tunnels.database import is_away, is_lock
from tunnels.sqlite.base import turns

pytestmark = pytest.mark.django_db(transaction=True)


def in_a_transaction(name: str) -> None:
    with transaction.atomic():
        Group.objects.create(name=name)


def by_itself(name: str) -> None:
    """One statement without a transaction around it."""
    Group(name=name).save(force_insert=True)


def names() -> list[str]:
    return list(Group.objects.order_by("pk").values_list("name", flat=True))


@contextmanager
def patience(milliseconds: int) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {milliseconds}")
    yield
    connection.close()


@contextmanager
def locked() -> Iterator[sqlite3.Connection]:
    """By somebody who knows of no queue, as another process."""
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield holder
    finally:
        holder.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(12) as made:
        yield made


def queued() -> int:
    return len(turns) + turns.is_taken


def start(pool: ThreadPoolExecutor, write: Callable[[str], None], *named: str) -> list[Future[None]]:
    """Each when the one before waits: the first for SQLite's lock, the others for their turn."""

    def run(name: str) -> None:
        try:
            write(name)
        finally:
            connection.close()

    begun: list[Future[None]] = []
    for name in named:
        before = queued()
        begun.append(pool.submit(run, name))
        until(lambda before=before: queued() > before, f"{name} waits")
    return begun


@pytest.mark.parametrize("write", [in_a_transaction, by_itself])
def test_they_write_in_the_order_in_which_they_came(pool, write):
    wanted = [f"group{number}" for number in range(10)]
    with locked():
        writing = start(pool, write, *wanted)
        assert len(turns) == 9
    for each in writing:
        each.result(60)
    assert names() == wanted


def test_readers_wait_for_nobody(pool):
    Group.objects.create(name="before")
    with locked():
        writing = start(pool, in_a_transaction, "one", "two")
        assert names() == ["before"]
        assert len(turns) == 1, "they wait still"
    for each in writing:
        each.result(60)


def test_one_that_fails_lets_the_next_one_in(pool):
    def fail(name: str) -> None:
        with transaction.atomic():
            Group.objects.create(name=name)
            raise ZeroDivisionError

    with locked():
        failing = start(pool, fail, "one")
        writing = start(pool, in_a_transaction, "two")
    with pytest.raises(ZeroDivisionError):
        failing[0].result(60)
    writing[0].result(60)
    assert names() == ["two"]


def test_inside_a_transaction_nobody_queues_again(pool):
    with transaction.atomic():
        Group.objects.create(name="outer")
        writing = start(pool, in_a_transaction, "other")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Group.objects.create(name="inner")
            1 / 0  # noqa: B018
        with transaction.atomic():
            Group.objects.create(name="second")
        assert not writing[0].done()
    writing[0].result(60)
    assert names() == ["outer", "second", "other"]


def test_a_connection_that_is_closed_in_the_middle_of_a_transaction(pool):
    def close(name: str) -> None:
        with transaction.atomic():
            Group.objects.create(name=name)
            connection.close()

    with locked():
        closing = start(pool, close, "one")
        writing = start(pool, in_a_transaction, "two")
    writing[0].result(60)
    closing[0].result(60)
    assert names() == ["two"]


def test_a_second_connection_of_the_same_thread_fails_and_holds_up_nobody(pool):
    second = connections.create_connection("default")
    try:
        with second.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 100")
        with transaction.atomic():
            with pytest.raises(OperationalError, match="database is locked"), second.cursor() as cursor:
                cursor.execute("INSERT INTO auth_group (name) VALUES ('second')")
            Group.objects.create(name="first")
            writing = start(pool, in_a_transaction, "third")
        writing[0].result(60)
        with second.cursor() as cursor:
            cursor.execute("INSERT INTO auth_group (name) VALUES ('second')")
    finally:
        second.close()
    assert names() == ["first", "third", "second"]


def test_the_wait_for_ones_turn_is_part_of_the_patience(pool):
    with locked():
        writing = start(pool, in_a_transaction, "patient")
        with patience(100), pytest.raises(OperationalError, match="locked: others wrote for 0") as raised:
            in_a_transaction("impatient")
        assert is_lock(raised.value) and is_away(raised.value)
        assert len(turns) == 0 and not writing[0].done()
    writing[0].result(60)
    assert names() == ["patient"]


@pytest.mark.parametrize("write", [in_a_transaction, by_itself])
def test_a_lock_that_stays_is_an_error(write):
    with locked(), patience(100):
        with pytest.raises(OperationalError) as raised:
            write("late")
        assert str(raised.value) == "database is locked"
        assert connection.connection.execute("PRAGMA busy_timeout").fetchone() == (100,), "as it was"
    write("early")
    assert names() == ["early"]


def test_who_reads_what_was_written_over_is_told_at_once():
    """SQLite gives them the lock never; to wait for it would hold up the rest."""
    Group.objects.bulk_create(Group(name=f"group{number}") for number in range(5))
    connection.ensure_connection()
    reading = connection.connection.execute("SELECT * FROM auth_group")
    reading.fetchone()
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("INSERT INTO auth_group (name) VALUES ('other')")
    other.close()
    tries: list[str] = []
    connection.connection.set_trace_callback(tries.append)
    with pytest.raises(OperationalError, match="database is locked"):
        in_a_transaction("mine")
    assert tries.count("BEGIN IMMEDIATE") == 1
    reading.close()
    in_a_transaction("mine")
    assert "mine" in names()


def test_other_errors_are_those_of_the_statement():
    by_itself("one")
    with connection.cursor() as cursor, pytest.raises(OperationalError, match="no such table"):
        cursor.execute("INSERT INTO nowhere VALUES (1)")
    with turns.turn(0):
        pass
