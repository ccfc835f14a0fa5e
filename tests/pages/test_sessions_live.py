"""Live sessions: who is there, what they did last, and who may watch or end them; changing by themselves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest

from terminals import live
from terminals.grants import create_grant, revoke_grant
from terminals.models import Session
from terminals.pages import session_rows, sessions
from terminals.session import TerminalSession
from tests.core.waiting import Clock
from tests.pages.helpers import Browser, Page
from tests.pages.past import recorded
from tests.pages.test_live import Live
from tests.people.helpers import ADDRESS
from tests.sharing.people import helper, join, new_session, owner, watcher
from tunnels.audit import OPERATOR

pytestmark = pytest.mark.django_db


class Node:
    """The terminals of this process, as `live.install` takes them."""

    def __init__(self) -> None:
        self.terminals: dict[UUID, TerminalSession] = {}

    def get(self, session_id: UUID) -> TerminalSession | None:
        return self.terminals.get(session_id)


@pytest.fixture
def terminal(her_session) -> TerminalSession:
    """alice's, with bob and a guest at it; 5 bytes in, 3000 out."""

    async def stage() -> TerminalSession:
        made = new_session()
        alice = join(made, owner())
        join(made, helper("bob"))
        join(made, watcher("carol", guest=True))
        made.input(alice, b"id\r\n\n")
        made.output(b"x" * 3000)
        return made

    node = Node()
    node.terminals[her_session.pk] = made = asyncio.run(stage())
    live.install(node)  # type: ignore[arg-type]
    yield made
    live.install(None)


@pytest.fixture
def observer(charlie, web1):
    """charlie, who may watch whoever is root on web1, and nothing else."""
    create_grant(person=charlie, host=web1, logins=["root"], capabilities=["observe"], actor=OPERATOR)
    return charlie


@pytest.fixture
def bobs_session(bob, db1, bobs) -> Session:
    return Session.objects.create(person=bob, host=db1, login="guest", node="n1", address=ADDRESS, grant=bobs)


def cells(page: Page, label: str) -> list[str]:
    return [" ".join(tag.text.split()) for tag in page.all("td", **{"data-label": label})]


def links(page: Page, words: str) -> list[str]:
    return [tag.attrs["href"] for tag in page.all("a") if tag.text == words]


def test_who_is_there_and_what_they_did(alice, terminal):
    page = Browser(alice).open("/sessions/")
    assert cells(page, "Here now") == ["alice, bob, carol (guest)"]
    assert cells(page, "In / out") == ["5 bytes / 2.9 KB"]
    (cell,) = [tag for tag in page.all("time") if "Last input" in tag_label(page, tag)]
    moment = datetime.fromisoformat(cell.attrs["datetime"])
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


def tag_label(page: Page, tag) -> str:
    before = page.tags[: page.tags.index(tag)]
    return next(other.attrs.get("data-label", "") for other in reversed(before) if other.name == "td")


def test_it_changes_by_itself_and_only_then(alice, her_session, terminal):
    watched = Live(alice, "/sessions/")
    assert [watched.poll().status_code for _ in range(3)] == [204] * 3
    terminal.last_input -= 600
    assert list(watched.changes()) == [str(her_session.pk)]
    assert watched.changes() == {}
    terminal.company.viewers.pop()
    assert "alice, bob" in watched.changes()[str(her_session.pk)]
    terminal.history.append(b"y" * 100_000)
    assert "100.6" in watched.changes()[str(her_session.pk)]


def test_one_that_another_process_holds_or_that_has_no_terminal(alice, her_session):
    page = Browser(alice).open("/sessions/")
    assert (cells(page, "Here now"), cells(page, "In / out"), cells(page, "Last input")) == (
        ["nobody"],
        ["0 bytes / 0 bytes"],
        ["–"],
    )
    Session.objects.update(has_terminal=False, way="ssh")
    page = Browser(alice).open("/sessions/")
    assert cells(page, "Here now") == ["–"]
    assert links(page, "Open") == []


def test_whether_it_is_recorded(alice, her_session):
    assert cells(Browser(alice).open("/sessions/"), "Way") == ["browser not recorded"]
    recorded(her_session, "recording")
    assert cells(Browser(alice).open("/sessions/"), "Way") == ["browser recording"]


# Who may do what


def test_an_observer_watches_what_the_grant_says_and_nothing_else(observer, her_session, bobs_session):
    browser = Browser(observer)
    assert cells(browser.open("/sessions/"), "Person") == [], "their own first"
    page = browser.open("/sessions/?all")
    assert cells(page, "Person") == ["alice"]
    assert links(page, "Watch") == [f"/sessions/{her_session.pk}/watch"]
    assert not page.all("form", action=f"/sessions/{her_session.pk}/end"), "an observer ends nothing"
    assert "Everybody's" in page.text


def test_it_goes_with_the_grant(observer, her_session):
    watched = Live(observer, "/sessions/?all")
    revoke_grant(grant=observer.grants.get(), actor=OPERATOR)
    answer = watched.poll()
    assert answer.status_code == 200
    assert str(her_session.pk) not in answer.content.decode()
    page = Browser(observer).open("/sessions/?all")
    assert cells(page, "Person") == [] and "Everybody's" not in page.text


def test_an_observer_sees_no_past_of_others(observer, alice, web1, her_session):
    browser = Browser(observer)
    browser.open("/sessions/?all")
    Session.objects.update(ended_at=her_session.started_at, reason="the shell ended")
    assert "the shell ended" not in browser.open("/sessions/?all").text


def test_an_admin_and_an_auditor_see_all_and_watch_nothing_by_that(admin, auditor, her_session, bobs_session):
    for person in (admin, auditor):
        page = Browser(person).open("/sessions/?all")
        assert sorted(cells(page, "Person")) == ["alice", "bob"]
        assert links(page, "Watch") == links(page, "Open") == []
    assert len(Browser(admin).open("/sessions/?all").all("form")) - 2 == 2, "log out, filter, and one to end each"
    assert len(Browser(auditor).open("/sessions/?all").all("form")) == 2


def test_an_admin_with_a_grant_to_observe(admin, web1, her_session, bobs_session):
    create_grant(person=admin, host=web1, logins=["root"], capabilities=["observe"], actor=OPERATOR)
    assert links(Browser(admin).open("/sessions/?all"), "Watch") == [f"/sessions/{her_session.pk}/watch"]


def test_ones_own_is_opened_not_watched(alice, web1, her_session):
    create_grant(person=alice, host=web1, logins=["root"], capabilities=["observe"], actor=OPERATOR)
    page = Browser(alice).open("/sessions/?all")
    assert links(page, "Watch") == [] and len(links(page, "Open")) == 1


def test_bob_and_charlie_see_nothing_of_hers(bob, charlie, her_session):
    for person in (bob, charlie):
        for path in ("/sessions/", "/sessions/?all", "/sessions/?all&person=alice"):
            assert str(her_session.pk) not in Browser(person).open(path).html


def test_of_very_many_the_first_are_shown(admin, alice, web1, alices, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_LIVE", 3)
    for _ in range(5):
        Session.objects.create(person=alice, host=web1, login="root", node="n1", address=ADDRESS)
    page = Browser(admin).open("/sessions/?all")
    assert len(cells(page, "Here now")) == 3
    assert "And 2 more" in page.text


def test_when_the_last_input_was_is_steady_and_follows_a_clock_that_is_set(alice, her_session, terminal, monkeypatch):
    wall = Clock()
    monkeypatch.setattr(session_rows, "time", SimpleNamespace(time=wall, monotonic=lambda: terminal.last_input))
    watched = Live(alice, "/sessions/")
    for hiccup_s in (0.6, -1.2, 2.5):
        wall.now += hiccup_s
        assert watched.changes() == {}
    wall.now += 3600
    assert list(watched.changes()) == [str(her_session.pk)]
    assert watched.browser.open("/sessions/").all("time", datetime="1970-01-01T01:16:42+00:00")
