"""Terminals of others: who may watch one, who finds one on their page of hosts, and the page that a link leads to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from terminals.grants import create_grant, revoke_grant
from terminals.models import Grant, Session, Share
from terminals.sessions import end_session
from terminals.shares import create_share, revoke_share
from tests.pages.helpers import Browser, Page
from tests.pages.test_live import Live
from tunnels.audit import OPERATOR


@pytest.fixture
def sharing(alice, web1) -> Grant:
    return create_grant(person=alice, host=web1, logins=["root"], capabilities=["terminal", "share"], actor=OPERATOR)


@pytest.fixture
def invite(alice, her_session, sharing):
    def make(person, role=Share.Role.WATCHER) -> Share:
        until = timezone.now() + timedelta(hours=1)
        made, _ = create_share(
            session=her_session, role=role, person=person.username, expires_at=until, owner=alice, actor=OPERATOR
        )
        return made

    return make


def shared(page: Page) -> list[str]:
    return [tag.attrs["href"] for tag in page.all("a", **{"class": "attach"}) if tag.attrs["href"].endswith("/watch")]


def test_three_people(alice, bob, charlie, admin, her_session, invite):
    invite(bob)
    assert shared(Browser(bob).open("/")) == [f"/sessions/{her_session.pk}/watch"]
    for person in (alice, charlie, admin):
        assert shared(Browser(person).open("/")) == []


def test_it_comes_and_goes_by_itself(bob, her_session, invite):
    live = Live(bob, "/")
    assert live.changes() == {}
    share = invite(bob, Share.Role.DRIVER)
    assert live.changes()[str(share.pk)].split() == ["web1", "root", "of", "alice,", "you", "may", "type", "Join"]
    revoke_share(share=share, actor=OPERATOR)
    live.changes()
    assert str(share.pk) not in live.marks


def test_what_the_owner_may_not_share_any_more_is_not_offered(bob, her_session, invite, sharing):
    invite(bob)
    revoke_grant(grant=sharing, actor=OPERATOR)
    assert shared(Browser(bob).open("/")) == []


def test_twice_invited_is_one_terminal(bob, her_session, invite):
    invite(bob)
    invite(bob, Share.Role.DRIVER)
    page = Browser(bob).open("/")
    assert len(shared(page)) == 1
    assert "you may type" in page.text


def test_who_may_open_the_page_to_watch(alice, bob, charlie, admin, auditor, web1, her_session, invite):
    path = f"/sessions/{her_session.pk}/watch"
    for person in (bob, charlie, admin, auditor):
        assert Browser(person).client.get(path).status_code == 404
    assert Browser(alice).client.get(path)["Location"].startswith("/hosts/web1/terminal?"), "her own"
    invite(bob)
    create_grant(person=charlie, host=web1, logins=["root"], capabilities=["observe"], actor=OPERATOR)
    for person in (bob, charlie):
        body = Browser(person).open(path).one("body").attrs
        assert (body["data-session"], body["data-host"], body["data-login"]) == (str(her_session.pk), "web1", "root")
    for person in (admin, auditor):
        assert Browser(person).client.get(path).status_code == 404


def test_to_observe_another_login_lets_nobody_watch(charlie, web1, her_session):
    create_grant(person=charlie, host=web1, logins=["backup"], capabilities=["observe"], actor=OPERATOR)
    assert Browser(charlie).client.get(f"/sessions/{her_session.pk}/watch").status_code == 404


def test_what_has_ended_cannot_be_watched(bob, her_session, invite):
    invite(bob)
    end_session(session_id=her_session.pk, reason="over", actor=OPERATOR)
    assert Browser(bob).client.get(f"/sessions/{her_session.pk}/watch").status_code == 404
    assert shared(Browser(bob).open("/")) == []


def test_the_page_of_a_link_is_one_for_all_and_tells_nobody_where_it_was(db, alice):
    for browser in (Browser(), Browser(alice)):
        answer = browser.client.get("/join/")
        assert answer.status_code == 200
        assert answer["Referrer-Policy"] == "no-referrer"
        assert "no-store" in answer["Cache-Control"]
        assert "'unsafe-inline'" not in answer["Content-Security-Policy"]
        page = Page(answer)
        assert all(tag.attrs.get("src") or tag.attrs.get("type") == "application/json" for tag in page.all("script"))
    assert page.one("body").attrs["data-person"] == "alice"
    assert Page(Browser().client.get("/join/")).one("body").attrs["data-person"] == ""


def test_it_takes_nothing(db):
    assert Browser().client.post("/join/", {"secret": "x"}).status_code in (403, 405)


def test_only_the_owner_sees_the_people_on_the_page_of_the_session(alice, admin, auditor, her_session):
    path = f"/sessions/{her_session.pk}/"
    section = Browser(alice).open(path).one("section", id="session-people")
    assert section.attrs["data-session"] == str(her_session.pk)
    for person in (admin, auditor):
        assert Browser(person).open(path).all("section", id="session-people") == []
    Session.objects.filter(pk=her_session.pk).update(ended_at=timezone.now())
    assert Browser(alice).open(path).all("section", id="session-people") == []
