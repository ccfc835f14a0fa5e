"""`terminals.tickets`: one use, one session, half a minute."""

from __future__ import annotations

from uuid import uuid4

import pytest

from terminals import tickets
from terminals.protocol import Role
from terminals.seats import owner_seat
from terminals.tickets import LIFETIME_S, TicketBook
from tests.core.waiting import Clock

ONE, OTHER = uuid4(), uuid4()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock) -> TicketBook:
    return TicketBook(clock)


def mint(book: TicketBook, role: Role = Role.DRIVER) -> str:
    return book.mint(session=ONE, seat=owner_seat("alice"), role=role)


def test_opens_once(book):
    secret = mint(book, Role.WATCHER)
    ticket = book.redeem(secret, session=ONE)
    assert (ticket.session, ticket.seat.name, ticket.role) == (ONE, "alice", Role.WATCHER)
    assert book.redeem(secret, session=ONE) is None


@pytest.mark.parametrize(("after", "valid"), [(0, True), (LIFETIME_S - 0.1, True), (LIFETIME_S, False), (999, False)])
def test_expires(book, clock, after, valid):
    secret = mint(book)
    clock.now += after
    assert (book.redeem(secret, session=ONE) is not None) is valid


def test_another_session_uses_it_up(book):
    secret = mint(book)
    assert book.redeem(secret, session=OTHER) is None
    assert book.redeem(secret, session=ONE) is None


@pytest.mark.parametrize("secret", ["", "x", "é" * 100, "\x00"])
def test_a_stranger(book, secret):
    mint(book)
    assert book.redeem(secret, session=ONE) is None


def test_only_hashes_are_kept(book):
    secret = mint(book)
    assert len(secret) >= 43 and secret not in repr(book._tickets)


def test_it_is_bounded_and_the_oldest_go(book, clock, monkeypatch):
    monkeypatch.setattr(tickets, "MAX_OUTSTANDING", 3)
    secrets = [mint(book) for _ in range(10)]
    assert len(book._tickets) == 3
    assert [book.redeem(secret, session=ONE) is not None for secret in secrets] == [False] * 7 + [True] * 3
    mint(book)
    clock.now += LIFETIME_S
    mint(book)
    assert len(book._tickets) == 1
