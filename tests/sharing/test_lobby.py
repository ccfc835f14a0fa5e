"""`terminals.lobby`: asking, waiting, being let in; what a stranger can pile up."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from terminals.lobby import KEEP_S, MAX_OF_PARTY, MAX_OF_SHARE, MAX_WAITING, PATIENCE_S, Lobby, State
from terminals.seats import Basis, Seat, Via
from tests.core.waiting import Clock
from tunnels.errors import TooMany

SESSION, OTHER = uuid4(), uuid4()
SHARE = uuid4()
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lobby(clock) -> Lobby:
    return Lobby(clock)


def seat(name: str, share: UUID = SHARE) -> Seat:
    return Seat(name=name, via=Via.SHARE, party=name, basis=Basis(share=share))


def ask(lobby: Lobby, name: str = "bob", session: UUID = SESSION, **more):
    return lobby.ask(session=session, seat=seat(name, **more), since=NOW)


def test_asked_admitted_and_in(lobby):
    made, key = ask(lobby)
    secret = lobby.secret(key)
    assert made.state is State.ASKING and lobby.admitted(secret, SESSION) is None
    assert [waiting.name for waiting in lobby.waiting(SESSION)] == ["bob"]
    assert lobby.decide(SESSION, made.id, admit=True) is made
    assert lobby.hear(made.id, key).state is State.ADMITTED
    assert lobby.admitted(secret, SESSION) is made and lobby.waiting(SESSION) == ()
    assert lobby.decide(SESSION, made.id, admit=False) is None, "an answer is given once"


def test_refused(lobby):
    made, key = ask(lobby)
    lobby.decide(SESSION, made.id, admit=False)
    assert lobby.hear(made.id, key).state is State.REFUSED and lobby.admitted(lobby.secret(key), SESSION) is None


def test_an_admission_is_for_one_session_and_of_one_key(lobby):
    made, key = ask(lobby)
    lobby.decide(SESSION, made.id, admit=True)
    assert lobby.admitted(lobby.secret(key), OTHER) is None
    assert lobby.admitted(key, SESSION) is None and lobby.admitted("", SESSION) is None
    assert lobby.hear(made.id, "") is None and lobby.hear("", key) is None
    _, others = ask(lobby, "carol")
    assert lobby.hear(made.id, others) is None and lobby.admitted(lobby.secret(others), SESSION) is None


def test_the_owner_of_another_session_decides_nothing(lobby):
    made, _ = ask(lobby)
    assert lobby.decide(OTHER, made.id, admit=True) is None and made.state is State.ASKING


def test_only_so_many_wait(lobby):
    for number in range(MAX_WAITING):
        ask(lobby, f"guest {number}")
    with pytest.raises(TooMany):
        ask(lobby, "one more")
    ask(lobby, "by another link", share=uuid4())
    ask(lobby, "guest 3")  # again: in their own place
    assert len(lobby.waiting(SESSION)) == MAX_WAITING + 1


def test_asking_without_end_stays_bounded(lobby):
    for _ in range(3 * MAX_OF_SHARE):
        try:
            made, _ = ask(lobby, "mallory")
            lobby.decide(SESSION, made.id, admit=False)
        except TooMany:
            pass
    assert len(lobby) <= MAX_OF_SHARE


@pytest.mark.parametrize("how", ["refused", "ended"])
def test_whose_asking_is_over_keeps_no_place_by_listening_on(lobby, clock, how):
    made, key = ask(lobby)
    if how == "refused":
        lobby.decide(SESSION, made.id, admit=False)
    else:
        lobby.end(lobby.of(session=SESSION))
    for _ in range(4):
        heard = lobby.hear(made.id, key)
        assert heard is made and heard.state == how
        clock.now += KEEP_S / 4
        lobby.tick()
    clock.now += 1
    lobby.tick()
    assert len(lobby) == 0 and lobby.hear(made.id, key) is None


def test_who_was_let_in_is_not_asked_for_again(lobby, clock):
    made, _key = ask(lobby)
    lobby.decide(SESSION, made.id, admit=True)
    again = [ask(lobby) for _ in range(2 * MAX_OF_PARTY)]
    assert all(other.state is State.ADMITTED for other, _ in again)
    assert len(lobby) <= MAX_OF_PARTY
    clock.now += 10 * KEEP_S
    assert lobby.tick() == set() and lobby.admitted(lobby.secret(again[-1][1]), SESSION), "as long as the session"
    assert ask(lobby, "carol")[0].state is State.ASKING


def test_invited_people_need_no_answer(lobby):
    made, key = lobby.ask(session=SESSION, seat=seat("bob"), since=NOW, is_invited=True)
    assert made.state is State.ADMITTED and lobby.admitted(lobby.secret(key), SESSION)


def test_sent_away(lobby):
    made, key = ask(lobby)
    lobby.decide(SESSION, made.id, admit=True)
    lobby.end(lobby.of(session=SESSION, party="bob"))
    assert lobby.admitted(lobby.secret(key), SESSION) is None and lobby.hear(made.id, key).state is State.ENDED
    assert ask(lobby)[0].state is State.ASKING, "and has to ask anew"


def test_who_stops_waiting_is_forgotten(lobby, clock):
    made, key = ask(lobby)
    clock.now += PATIENCE_S
    assert lobby.hear(made.id, key)
    clock.now += PATIENCE_S
    assert lobby.tick() == set()
    clock.now += 1
    assert lobby.tick() == {SESSION} and lobby.waiting(SESSION) == () and lobby.hear(made.id, key) is None
    assert len(lobby) == len(lobby._by_secret) == 0
