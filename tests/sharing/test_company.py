"""`terminals.company` in a session: who is here, who has the keyboard, and what each of them is told."""

from __future__ import annotations

import asyncio

import pytest

from terminals.company import MAX_OF_PARTY, MAX_VIEWERS, Asking, News
from terminals.protocol import BadMessage, Role
from terminals.seats import Via, Way
from terminals.session import TerminalSession
from tests.core.wires import viewer
from tests.sharing.people import company, helper, join, new_session, owner, watcher


def typed(session: TerminalSession) -> bytes:
    return bytes(session._keyboard._early)


async def turn() -> None:
    await asyncio.sleep(0)


async def test_everybody_is_told_who_is_here_and_the_owner_who_asks():
    session = new_session()
    alice, carol = join(session, owner()), join(session, watcher(guest=True))
    session.company.asking = (Asking("a1", "mallory", True, Role.WATCHER, "2026-01-31T12:00:00+00:00"),)
    await turn()
    for it in (alice, carol):
        assert len(it.wire.of("viewers")) == 1, "once for what happens in one turn of the loop"
        told = company(it)
        assert (told["you"], told["owner"]) == (it.id, "alice")
        assert told["items"] == [
            {
                "id": alice.id,
                "name": "alice",
                "role": "driver",
                "may_drive": True,
                "wants": False,
                "is_owner": True,
                "is_guest": False,
                "via": "owner",
                "way": "browser",
            },
            {
                "id": carol.id,
                "name": "carol",
                "role": "watcher",
                "may_drive": False,
                "wants": False,
                "is_owner": False,
                "is_guest": True,
                "via": "share",
                "way": "browser",
            },
        ]
    assert [item["name"] for item in company(alice)["asking"]] == ["mallory"]
    assert "asking" not in company(carol)


async def test_attached_says_whose_it_is_and_who_one_is():
    session = new_session()
    it = join(session, owner())
    told = it.wire.of("attached")[0]
    assert (told["owner"], told["viewer"], told["role"]) == ("alice", it.id, "driver")


async def test_who_may_drive_watches_until_the_keyboard_is_handed_over():
    session = new_session()
    alice, bob = join(session, owner(), cols=100), join(session, helper(asks=Role.DRIVER), cols=50)
    assert (alice.role, bob.role) == (Role.DRIVER, Role.WATCHER)
    assert bob.wire.of("attached")[0]["role"] == "watcher" and session.cols == 100
    session.input(alice, b"a")
    session.ask_role(bob, Role.DRIVER)
    await turn()
    assert bob.role is Role.WATCHER, "only the owner gives it"
    assert [item["wants"] for item in company(alice)["items"]] == [False, True]
    session.give(bob)
    await turn()
    changed = {"type": "role", "input_offset": 1, "cols": 100, "rows": 24}
    assert alice.wire.of("role") == [{**changed, "role": "watcher"}]
    assert bob.wire.of("role") == [{**changed, "role": "driver"}]
    assert [(item["role"], item["wants"]) for item in company(alice)["items"]] == [
        ("watcher", False),
        ("driver", False),
    ]
    session.resize(bob, 50, 20)
    session.resize(alice, 200, 50)
    assert (session.cols, session.rows) == (50, 20), "the driver owns the size"


async def test_input_on_its_way_when_the_keyboard_is_taken_is_dropped():
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper())
    session.input(alice, b"1")
    session.give(bob)
    session.input(alice, b"too late")
    session.interrupt(alice)
    session.input(bob, b"2")
    session.ask_role(alice, Role.DRIVER)
    session.input(bob, b"too late")
    session.interrupt(bob)
    session.input(alice, b"3")
    assert typed(session) == b"123" and session.input_offset == 3
    assert alice.wire.closed is None and bob.wire.closed is None
    assert [message["input_offset"] for message in (*alice.wire.of("role"), *bob.wire.of("role"))] == [1, 2, 1, 2]


@pytest.mark.parametrize("act", ["input", "interrupt"])
@pytest.mark.parametrize("make", [watcher, helper])
async def test_who_never_drove_types_nothing(make, act):
    """One who may drive some day as well: their browser knows that it has not been given the keyboard."""
    session = new_session()
    it = join(session, make())
    with pytest.raises(BadMessage, match="watcher"):
        session.input(it, b"x") if act == "input" else session.interrupt(it)
    assert typed(session) == b""


@pytest.mark.parametrize("via", [Via.SHARE, Via.OBSERVE])
async def test_who_may_only_watch_cannot_ask_for_the_keyboard(via):
    session = new_session()
    it = join(session, watcher(via=via))
    with pytest.raises(BadMessage, match="never"):
        session.ask_role(it, Role.DRIVER)
    session.ask_role(it, Role.WATCHER)
    assert it.role is Role.WATCHER and session.driver is None


async def test_a_ticket_of_the_owner_for_watching_gives_no_keyboard():
    session = new_session()
    it = join(session, viewer(Role.WATCHER))
    with pytest.raises(BadMessage):
        session.ask_role(it, Role.DRIVER)


async def test_stepping_down_and_leaving_give_it_back_to_the_owner():
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper())
    session.give(bob)
    session.ask_role(bob, Role.WATCHER)
    assert alice.role is Role.DRIVER and bob.role is Role.WATCHER
    session.give(bob)
    session.detach(bob)
    assert alice.role is Role.DRIVER and alice.wire.of("role")[-1]["role"] == "driver"
    session.ask_role(alice, Role.WATCHER)
    assert alice.role is Role.DRIVER, "an owner who is there has it, or somebody whom they gave it to"


async def test_without_the_owner_it_waits_for_them():
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper())
    session.give(bob)
    session.detach(alice)
    session.ask_role(bob, Role.WATCHER)
    assert session.driver is None
    session.ask_role(bob, Role.DRIVER)
    assert session.driver is None and bob.wants
    again = join(session, owner())
    assert again.role is Role.DRIVER


async def test_an_owner_who_comes_back_watches_until_they_take_it():
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper())
    session.give(bob)
    session.detach(alice)
    again = join(session, owner())
    assert again.wire.of("attached")[0]["role"] == "watcher" and session.driver is bob
    other = join(session, owner())
    assert again.wire.closed[0] == 4409 and session.driver is bob, "a second window of the owner replaces the first"
    session.ask_role(other, Role.DRIVER)
    assert session.driver is other and bob.wire.of("role")[-1]["role"] == "watcher"


async def test_a_driver_whose_connection_is_lost_goes_on_where_the_owner_is_away():
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper())
    session.give(bob)
    session.detach(alice)
    session.detach(bob)
    stranger = join(session, helper("mallory", asks=Role.DRIVER))
    assert stranger.role is Role.WATCHER, "the keyboard was given to somebody else"
    assert join(session, helper(asks=Role.DRIVER)).role is Role.DRIVER


async def test_a_drivers_new_window_replaces_the_one_before_and_nobody_elses():
    session = new_session()
    alice, bob, carol = join(session, owner()), join(session, helper()), join(session, watcher())
    session.give(bob)
    again = join(session, helper(asks=Role.DRIVER))
    assert bob.wire.closed[0] == 4409 and again.role is Role.DRIVER
    assert alice.wire.closed is None and carol.wire.closed is None
    session.input(again, b"x")
    assert typed(session) == b"x"


async def test_it_is_attended_by_its_driver_or_its_owner():
    session = new_session()
    alice, bob, carol = join(session, owner()), join(session, helper()), join(session, watcher())
    session.give(bob)
    session.detach(alice)
    assert session.unattended_since is None
    session.detach(bob)
    assert session.unattended_since is not None, "a watcher keeps nothing open"
    session.detach(carol)
    again = join(session, owner())
    assert session.unattended_since is None
    session.detach(again)
    assert session.unattended_since is not None


async def test_a_warning_of_the_driver_before_is_withdrawn():
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper())
    session.tick(session.last_input + 299)
    assert alice.wire.of("limit")[-1]["in_s"] == 1
    session.give(bob)
    assert alice.wire.of("limit")[-1]["in_s"] is None
    session.tick(session.last_input + 10)
    assert bob.wire.of("limit") == [] and not session._stop.done()


async def test_only_so_many_watch():
    session = new_session()
    for _ in range(MAX_OF_PARTY):
        join(session, watcher("bob"))
    assert not session.company.has_room("bob") and session.company.has_room("carol")
    for number in range(MAX_VIEWERS - MAX_OF_PARTY):
        join(session, watcher(f"guest {number}"))
    assert not session.company.has_room("carol") and session.company.has_room("owner")


async def test_what_happens_is_noted_once_each():
    session, news = new_session(), []
    marks: list[str] = []
    session.witness = lambda what, viewer, reason: news.append((what, viewer.seat.name, viewer.role, reason))
    session.mark = marks.append  # type: ignore[method-assign]
    join(session, owner())
    bob, carol = join(session, helper()), join(session, watcher(guest=True))
    session.give(bob)
    session.remove(bob, "alice asked you to leave")
    session.detach(carol)
    session.detach(carol)
    assert news == [
        (News.JOINED, "bob", Role.WATCHER, ""),
        (News.JOINED, "carol", Role.WATCHER, ""),
        (News.ROLE_CHANGED, "alice", Role.WATCHER, ""),
        (News.ROLE_CHANGED, "bob", Role.DRIVER, ""),
        (News.LEFT, "bob", Role.DRIVER, "alice asked you to leave"),
        (News.ROLE_CHANGED, "alice", Role.DRIVER, ""),
        (News.LEFT, "carol", Role.WATCHER, ""),
    ]
    assert marks[:3] == ["bob joined as watcher", "carol (guest) joined as watcher", "alice is watcher now"]
    assert bob.wire.closed == (4403, "alice asked you to leave")


async def test_a_line_for_everybody():
    session = new_session()
    everybody = [join(session, owner()), join(session, helper()), join(session, watcher())]
    session.say("dora: the disk is full")
    assert all(it.wire.of("notice")[-1]["text"] == "dora: the disk is full" for it in everybody)


async def test_asking_again_and_again_is_told_once():
    session = new_session()
    alice, bob = join(session, owner(way=Way.SSH)), join(session, helper())
    await turn()
    for _ in range(50):
        session.ask_role(bob, Role.DRIVER)
        await turn()
    assert len(alice.wire.of("viewers")) == 2


async def test_who_was_sent_away_with_the_keyboard_does_not_have_it_when_they_are_let_in_again():
    """Their owner was not there, and sent them away by the page of the session."""
    session = new_session()
    alice, bob = join(session, owner()), join(session, helper(asks=Role.DRIVER))
    session.give(bob)
    session.detach(alice)
    session.detach(bob)
    bob = join(session, helper(asks=Role.DRIVER))
    assert bob.role is Role.DRIVER, "his connection was lost for a moment"
    session.remove(bob, "alice asked you to leave")
    bob = join(session, helper(asks=Role.DRIVER))
    assert bob.role is Role.WATCHER
