"""The websocket's door for those who are not the owner."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest

from terminals import live
from terminals.company import MAX_OF_PARTY
from terminals.protocol import Role
from terminals.seats import Seat, Via
from terminals.tickets import TicketBook
from tests.core.test_consumer import Browser
from tests.core.waiting import until
from tests.sharing.people import join, new_session, owner, watcher

BOB = Seat(name="bob", via=Via.SHARE, may_drive=True, party="bob")
EVE = Seat(name="eve", via=Via.SHARE, is_guest=True, party="eve")


@pytest.fixture
async def terminal(monkeypatch):
    it = new_session()
    book, held = TicketBook(), {it.id: it}
    fake = SimpleNamespace(tickets=book, find=held.get, get=held.get, attached=lambda terminal: None, held=held)
    monkeypatch.setattr(live, "_current", fake)
    return it


def browser(terminal, seat: Seat, role: Role = Role.WATCHER, user: str | None = None) -> Browser:
    it = Browser(terminal.id, user=user)
    it.attach(live.current().tickets.mint(session=terminal.id, seat=seat, role=role))
    return it


async def code(it: Browser) -> int | None:
    it.go()
    await it.run()
    return it.wire.closed[0] if it.wire.closed else None


@pytest.mark.parametrize(
    ("seat", "user", "expected"),
    [
        (BOB, None, None),
        (BOB, "bob", None),
        (BOB, "charlie", 4401),
        (EVE, None, None),
        (EVE, "eve", 4401),  # a person of that name is somebody else
        (EVE, "charlie", 4401),
    ],
)
async def test_whose_ticket_it_is(terminal, seat, user, expected):
    assert await code(browser(terminal, seat, user=user)) == expected


async def test_a_terminal_that_has_ended_is_for_its_owner_alone(terminal, monkeypatch):
    monkeypatch.setattr(live.current(), "get", lambda session_id: None)
    it = browser(terminal, BOB)
    assert await code(it) == 4404 and it.wire.output == b""


async def test_too_many_windows(terminal):
    for _ in range(MAX_OF_PARTY):
        join(terminal, watcher("bob"))
    it = browser(terminal, BOB)
    assert await code(it) == 4403 and "too many" in it.wire.closed[1]


async def test_a_drivers_ticket_gives_no_keyboard_that_somebody_has(terminal):
    alice = join(terminal, owner())
    it = browser(terminal, BOB, Role.DRIVER)
    it.text("role", ask="driver")
    it.text("ping", t=1)
    it.type(b"rm -rf /\r")
    await it.run()
    assert it.wire.closed[0] == 4400 and alice.role is Role.DRIVER and terminal.input_offset == 0


async def test_what_was_typed_while_the_keyboard_went_is_dropped_and_the_window_stays(terminal):
    alice = join(terminal, owner())
    it = browser(terminal, BOB)
    running = asyncio.create_task(it.run())
    bob = await until(lambda: terminal.company.find(it.wire.of("attached")[0]["viewer"]) if it.wire.messages else None)
    terminal.give(bob)
    it.type(b"ls\r")
    await until(lambda: terminal.input_offset == 3)
    terminal.ask_role(alice, Role.DRIVER)
    it.type(b"late")
    it.text("interrupt")
    it.text("ping", t=1)
    await until(lambda: it.wire.of("pong"))
    assert terminal.input_offset == 3 and it.wire.closed is None
    it.go()
    await running


@pytest.mark.parametrize(
    "message",
    [{}, {"ask": "owner"}, {"ask": None}, {"ask": ["driver"]}, {"ask": "DRIVER"}, {"ask": "x" * 300}],
    ids=str,
)
async def test_nonsense_about_roles(terminal, message):
    it = browser(terminal, BOB)
    it.text("role", **message)
    await it.run()
    assert it.wire.closed[0] == 4400


async def test_an_unknown_terminal(terminal):
    it = Browser(uuid4())
    it.attach(live.current().tickets.mint(session=terminal.id, seat=BOB, role=Role.WATCHER))
    assert await code(it) == 4401
