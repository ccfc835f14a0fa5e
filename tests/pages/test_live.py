"""Pages that change by themselves: 204 while nothing has changed, else the fragment with what is new."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.utils import timezone

from terminals.grants import create_grant, revoke_grant
from tests.pages.helpers import Browser, Page, ask
from tests.people.helpers import make_host, make_tunnel
from tunnels.audit import OPERATOR
from tunnels.hosts import change_tags, revoke_host
from tunnels.models import Tunnel


class Live:
    """One page of one person, and what polling it answers."""

    def __init__(self, person, path: str) -> None:
        self.browser, self.path = Browser(person), path
        page = self.browser.open(path)
        (region,) = [tag for tag in page.tags if "hx-get" in tag.attrs]
        assert region.attrs["hx-get"] == path
        self.seen = region.attrs["data-seen"]
        self.marks = marks(page)

    def poll(self) -> HttpResponse:
        return self.browser.poll(self.path, self.seen)

    def changes(self) -> dict[str, str]:
        """The items that are new or different since, each with its text. Sees them."""
        answer = self.poll()
        if answer.status_code == 204:
            assert answer.content == b""
            return {}
        fragment = Fragment(answer)
        (self.seen,) = [tag.attrs["data-seen"] for tag in fragment.tags if "data-seen" in tag.attrs]
        old, self.marks = self.marks, marks(fragment)
        return {key: text for key, (mark, text) in self.marks.items() if old.get(key, ("", ""))[0] != mark}


class Fragment(Page):
    """A part of a page: no head, no bar."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__(answer)
        assert not self.all("html", "head", "body", "main", "h1")


def marks(page: Page) -> dict[str, tuple[str, str]]:
    keyed = [tag for tag in page.tags if "data-key" in tag.attrs]
    return {tag.attrs["data-key"]: (tag.attrs["data-mark"], " ".join(tag.text.split())) for tag in keyed}


def close_tunnels(reason: str = "agent said goodbye") -> None:
    Tunnel.objects.update(closed_at=timezone.now(), reason=reason)


@pytest.mark.parametrize("path", ["/", "/hosts/web1/", "/sessions/"])
def test_nothing_new(alice, alices, her_session, path):
    live = Live(alice, path)
    assert [live.poll().status_code for _ in range(3)] == [204] * 3
    assert live.browser.poll(path, "another").status_code == 200
    assert "no-store" in live.poll()["Cache-Control"]


@pytest.mark.parametrize("path", ["/approvals/", "/sessions/?all"])
def test_nothing_new_for_an_admin(admin, new1, web1, her_session, path):
    assert Live(admin, path).poll().status_code == 204


def test_a_plain_visit_gets_the_whole_page(alice, alices):
    live = Live(alice, "/")
    assert live.browser.client.get("/", {"seen": live.seen}).status_code == 200


def test_a_host_goes_and_comes_back(alice, web1, alices):
    other = make_host("web2", online=True)
    create_grant(person=alice, host=other, logins=["root"], actor=OPERATOR)
    live = Live(alice, "/")
    Tunnel.objects.filter(host=web1).update(closed_at=timezone.now(), reason="agent said goodbye")
    changes = live.changes()
    assert list(changes) == [str(web1.pk)], "web2 is left alone"
    assert "agent said goodbye" in changes[str(web1.pk)]
    assert live.changes() == {}
    Tunnel.objects.filter(host=web1).update(closed_at=None, lease_until=timezone.now() + timedelta(hours=1))
    assert "online" in live.changes()[str(web1.pk)]


def test_the_page_of_a_host_notices(alice, web1, alices):
    live = Live(alice, "/hosts/web1/")
    close_tunnels()
    assert "agent said goodbye" in live.changes()["state"]
    Tunnel.objects.all().delete()
    make_tunnel(web1)
    assert "Open as root" in live.changes()["state"]


def test_access_comes_and_goes(alice, charlie, web1):
    live, next_door = Live(alice, "/"), Live(charlie, "/")
    grant = create_grant(person=alice, host=web1, logins=["root"], actor=OPERATOR)
    assert "web1" in live.changes()[str(web1.pk)]
    assert next_door.changes() == {}
    revoke_grant(grant=grant, actor=OPERATOR)
    assert list(live.changes()) == ["empty"]
    assert str(web1.pk) not in live.marks


def test_a_host_taken_away_is_a_404_which_makes_the_browser_reload(alice, web1, alices):
    live = Live(alice, "/hosts/web1/")
    revoke_host(host=web1, actor=OPERATOR)
    assert live.poll().status_code == 404


def test_tags_become_chips(alice, web1, alices):
    live = Live(alice, "/")
    change_tags(host=web1, tags={"site": "paris"}, actor=OPERATOR)
    assert set(live.changes()) == {str(web1.pk), "site=paris"}
    assert "site=berlin" not in live.marks


def test_a_new_request_appears_and_is_counted(admin, new1):
    live = Live(admin, "/approvals/")
    new2 = ask("new2")
    changes = live.changes()
    assert set(changes) == {str(new2.pk), "count"}
    assert new2.fingerprint in changes[str(new2.pk)]
    assert changes["count"] == "2 waiting"


def test_the_badge_is_counted_on_every_live_page_of_an_admin_only(admin, alice, alices, new1):
    watched, hers = Live(admin, "/sessions/"), Live(alice, "/sessions/")
    ask("new2")
    assert watched.changes() == {"count": "2 waiting"}
    assert hers.changes() == {}


def test_a_form_in_a_fragment_works(admin, new1):
    """It carries a CSRF token of its own."""
    live = Live(admin, "/approvals/")
    new2 = ask("new2")
    live.browser.page = Fragment(live.poll())
    assert live.browser.send(f"/approvals/{new2.pk}/approve", grant=None).messages == ["new2 is approved."]


def test_a_session_that_ends_moves_to_the_past(alice, her_session):
    live = Live(alice, "/sessions/")
    her_session.ended_at, her_session.reason = timezone.now(), "the shell ended"
    her_session.save()
    assert "the shell ended" in live.changes()[str(her_session.pk)]


def test_whoever_is_logged_out_reloads_into_the_login(alice, alices):
    live = Live(alice, "/")
    live.browser.client.logout()
    answer = live.poll()
    assert (answer.status_code, answer["HX-Refresh"], answer.content) == (401, "true", b"")


def test_the_login_page_polls_nothing(db):
    assert "hx-get" not in Browser().open("/login/").html
