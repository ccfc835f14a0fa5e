"""Terminal sessions: one's own, everybody's for admins and auditors, ended by owner or admin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from terminals.models import Session
from terminals.pages import sessions
from tests.pages.helpers import Browser, Page
from tests.people.helpers import ADDRESS, last_event


@pytest.fixture
def bobs_session(bob, db1, bobs) -> Session:
    return Session.objects.create(person=bob, host=db1, login="guest", node="n1", address=ADDRESS, grant=bobs)


def live_and_past(page: Page) -> tuple[int, int]:
    """How many rows each of the two tables has."""
    names = [tag.attrs.get("data-list", "row") for tag in page.all("tbody", "tr") if "thead" not in tag.inside]
    border = names.index("past_sessions")
    return border - 1, len(names) - border - 1


def finish(session: Session, reason: str = "the shell ended") -> None:
    Session.objects.filter(pk=session.pk).update(ended_at=timezone.now(), reason=reason, bytes_in=5, bytes_out=2048)


def test_three_people(alice, bob, charlie, her_session, bobs_session):
    assert live_and_past(Browser(alice).open("/sessions/")) == (1, 0)
    assert live_and_past(Browser(bob).open("/sessions/?all")) == (1, 0), "which he may not ask for"
    assert live_and_past(Browser(charlie).open("/sessions/")) == (0, 0)


@pytest.mark.parametrize("who", ["admin", "auditor"])
def test_everybodys(request, who, her_session, bobs_session):
    browser = Browser(request.getfixturevalue(who))
    assert live_and_past(browser.open("/sessions/")) == (0, 0), "their own first"
    page = browser.open("/sessions/?all")
    assert live_and_past(page) == (2, 0)
    assert "alice" in page.one("main").text


def test_a_live_one_can_be_opened_again(alice, auditor, her_session):
    page = Browser(alice).open("/sessions/")
    (link,) = page.all("a", **{"class": "button is-small"})
    assert link.attrs["href"] == f"/hosts/web1/terminal?login=root&session={her_session.pk}"
    assert not Browser(auditor).open("/sessions/?all").all("a", **{"class": "button is-small"})


def test_the_owner_ends_it(alice, her_session):
    browser = Browser(alice)
    browser.open("/sessions/")
    page = browser.send(f"/sessions/{her_session.pk}/end")
    assert page.messages == ["The session on web1 is ended."]
    assert live_and_past(page) == (0, 1)
    her_session.refresh_from_db()
    assert (her_session.reason, her_session.ended_by) == ("ended by its owner", "alice")
    told = last_event()
    assert (told.event, told.person, told.session) == ("session.ended", "alice", str(her_session.pk))


def test_an_admin_ends_it_and_is_named(admin, her_session):
    browser = Browser(admin)
    browser.open(f"/sessions/{her_session.pk}/")
    browser.send(f"/sessions/{her_session.pk}/end")
    her_session.refresh_from_db()
    assert (her_session.reason, her_session.ended_by) == ("ended by admin", "admin")
    assert (last_event().person, last_event().detail["owner"]) == ("admin", "alice")


def test_an_auditor_only_looks(auditor, her_session):
    page = Browser(auditor).open(f"/sessions/{her_session.pk}/")
    assert page.status == 200
    assert [form.action for form in page.forms] == ["/logout/"]
    assert f"/audit/?session={her_session.pk}" in [link.attrs.get("href") for link in page.all("a")]


def test_one_that_had_ended_already(alice, her_session):
    browser = Browser(alice)
    browser.open("/sessions/")
    finish(her_session)
    page = browser.send(f"/sessions/{her_session.pk}/end")
    assert page.messages == ["The session on web1 had ended already."]
    assert Session.objects.get().bytes_out == 2048, "its record stays as it was"


def test_a_past_one_in_detail(alice, her_session):
    Session.objects.update(stated_reason="disk is full")
    finish(her_session)
    page = Browser(alice).open(f"/sessions/{her_session.pk}/")
    assert page.one("h1").text == "root on web1"
    for fact in ("ended", "the shell ended", "2048 out", "disk is full", ADDRESS, str(her_session.pk)):
        assert fact in page.one("main").text
    assert "/audit/" not in page.html


def test_pages_of_past_ones(alice, her_session, monkeypatch):
    monkeypatch.setattr(sessions, "PAGE", 2)
    finish(her_session)
    her_session.refresh_from_db()
    for hours in range(1, 5):
        her_session.pk = None
        her_session.save(force_insert=True)
        Session.objects.filter(pk=her_session.pk).update(started_at=timezone.now() - timedelta(hours=hours))
    browser, seen = Browser(alice), []
    page = browser.open("/sessions/")
    while links := page.all("a", rel="next"):
        seen.append(live_and_past(page)[1])
        page = browser.open(f"/sessions/{links[0].attrs['href']}")
    assert [*seen, live_and_past(page)[1]] == [2, 2, 1]
    assert live_and_past(browser.open("/sessions/?before=nonsense")) == (0, 2)


def test_none_yet(alice):
    page = Browser(alice).open("/sessions/")
    assert "No live session." in page.text
    assert "None yet." in page.text
