"""`terminals.round_trip`: how long the host takes to answer, by a question that AsyncSSH has no public call for."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from terminals import round_trip
from terminals.round_trip import RoundTrip
from tests.core.host import fake_host
from tests.core.waiting import PATIENCE_S, until


@pytest.fixture
async def host():
    async with fake_host() as host:
        yield host


def measuring() -> list[asyncio.Task]:
    return [task for task in asyncio.all_tasks() if "RoundTrip._measure" in repr(task)]


def test_asyncssh_still_has_what_we_borrow():
    assert asyncio.iscoroutinefunction(asyncssh.SSHClientConnection._make_global_request)


async def test_the_first_answer_comes_later_and_counts_from_then_on(host):
    async with await host.connect() as connection:
        trip = RoundTrip(connection)
        assert trip.newest_ms() is None
        await until(lambda: trip.newest_ms() is not None)
        assert 0 < trip.newest_ms() < 1000 * PATIENCE_S


async def test_however_many_ask_one_is_measured(host, monkeypatch):
    monkeypatch.setattr(round_trip, "EVERY_S", 3600)
    asked = []
    async with await host.connect() as connection:
        ask = connection._make_global_request
        monkeypatch.setattr(connection, "_make_global_request", lambda name: asked.append(name) or ask(name))
        trip = RoundTrip(connection)
        for _ in range(100):
            trip.newest_ms()
        await until(lambda: trip.newest_ms() is not None and not measuring())
        trip.newest_ms()
        assert asked == [b"keepalive@openssh.com"]
        trip._due = 0
        trip.newest_ms()
        await until(lambda: len(asked) == 2 and not measuring())


async def test_a_host_that_never_answers_is_asked_once():
    async with fake_host(answers_requests=False) as host, await host.connect() as connection:
        trip = RoundTrip(connection)
        for _ in range(3):
            trip._due = 0
            assert trip.newest_ms() is None
            await asyncio.sleep(0.01)
        assert len(measuring()) == 1
        trip.cancel()
        await until(lambda: not measuring())
        trip.newest_ms()
        assert measuring() == []


async def test_the_end_of_the_connection_is_no_answer(host):
    host_never = {"answers_requests": False}
    async with fake_host(**host_never) as silent:
        connection = await silent.connect()
        trip = RoundTrip(connection)
        trip.newest_ms()
        await asyncio.sleep(0.01)
        connection.abort()
        await until(lambda: not measuring())
        assert trip.newest_ms() is None
        trip.cancel()
