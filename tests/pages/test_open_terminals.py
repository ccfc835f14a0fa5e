"""A person's own open terminals, on top of the hosts and on a host's page: links that attach again."""

from __future__ import annotations

import pytest
from django.utils import timezone

from terminals.grants import create_grant
from terminals.models import Session
from terminals.pages.open_terminals import MAX_SHOWN
from tests.pages.helpers import Browser, Page
from tests.pages.test_live import Live
from tests.people.helpers import ADDRESS, make_host
from tunnels.audit import OPERATOR


def links(page: Page) -> list[str]:
    return [tag.attrs["href"] for tag in page.all("a", **{"class": "attach"})]


def address(session: Session) -> str:
    return f"/hosts/{session.host.name}/terminal?login={session.login}&session={session.pk}"


def open_on(person, host, login="root", **more) -> Session:
    return Session.objects.create(person=person, host=host, login=login, node="n1", address=ADDRESS, **more)


def test_three_people(alice, bob, charlie, admin, bobs, her_session, db1):
    bobs_session = open_on(bob, db1, "guest")
    assert links(Browser(alice).open("/")) == [address(her_session)]
    assert links(Browser(bob).open("/")) == [address(bobs_session)]
    for person in (charlie, admin):
        assert links(Browser(person).open("/")) == []


def test_a_link_says_where_it_leads_and_leads_there(alice, her_session):
    browser = Browser(alice)
    page = browser.open("/")
    link = page.one("a", **{"class": "attach"})
    assert link.text.split()[:3] == ["web1", "root", "opened"]
    assert browser.open(link.attrs["href"]).status == 200


def test_on_the_page_of_a_host_only_those_there(alice, her_session):
    other = make_host("web2", online=True)
    create_grant(person=alice, host=other, logins=["pi"], actor=OPERATOR)
    there = open_on(alice, other, "pi")
    browser = Browser(alice)
    assert set(links(browser.open("/"))) == {address(her_session), address(there)}
    assert links(browser.open("/hosts/web1/")) == [address(her_session)]
    assert links(browser.open("/hosts/web2/")) == [address(there)]


@pytest.mark.parametrize("way", [Session.Way.SSH, Session.Way.END_TO_END])
def test_what_no_browser_can_attach_to_is_not_offered(alice, alices, web1, way):
    open_on(alice, web1, way=way, has_terminal=False)
    assert links(Browser(alice).open("/")) == []


def test_a_terminal_of_the_stock_client_is(alice, alices, web1):
    session = open_on(alice, web1, way=Session.Way.SSH)
    assert links(Browser(alice).open("/")) == [address(session)]


@pytest.mark.parametrize("more", [0, 1, 3])
def test_many_end_with_a_link_to_all(alice, alices, web1, more):
    rows = [open_on(alice, web1) for _ in range(MAX_SHOWN + more)]
    shown = links(Browser(alice).open("/"))
    newest = [address(row) for row in reversed(rows)][:MAX_SHOWN]
    assert shown == newest + (["/sessions/"] if more else [])
    if more:
        assert f"{more} more" in Browser(alice).open("/").text


@pytest.mark.parametrize("path", ["/", "/hosts/web1/"])
def test_they_come_and_go_by_themselves(alice, bob, web1, alices, path):
    live = Live(alice, path)
    open_on(bob, web1)
    assert live.changes() == {}, "another person's is nothing to her"
    row = open_on(alice, web1)
    changes = live.changes()
    assert list(changes) == [str(row.pk)]
    assert "root" in changes[str(row.pk)]
    Session.objects.filter(pk=row.pk).update(ended_at=timezone.now(), reason="the shell ended")
    assert live.changes() == {}
    assert str(row.pk) not in live.marks
