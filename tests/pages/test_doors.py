"""Every page and every form of the portal x everybody: who gets in, who is refused, who is told nothing."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import resolve, reverse

from terminals.models import ApiToken, Delivery, Grant, PersonKey, Session, Webhook
from terminals.urls import urlpatterns
from tests.pages.helpers import Page
from tests.people.helpers import ADDRESS, events
from tunnels.models import EnrollmentToken, Host

WHO = ["anonymous", "charlie", "alice", "bob", "auditor", "admin"]
EVERYBODY = [302, 200, 200, 200, 200, 200]
ADMINS = [302, 403, 403, 403, 403, 200]
AUDITORS = [302, 403, 403, 403, 200, 403]
ON_WEB1 = [302, 404, 200, 404, 404, 404]
ON_DB1 = [302, 404, 404, 200, 404, 404]

PAGES = [
    ("/", EVERYBODY),
    ("/hosts/web1/", ON_WEB1),
    ("/hosts/db1/", ON_DB1),
    ("/hosts/new1/", [302, 404, 404, 404, 404, 404]),
    ("/hosts/web1/terminal", ON_WEB1),
    ("/hosts/web1/terminal?login=root", ON_WEB1),
    ("/hosts/web1/terminal?login=pi", [302, 404, 403, 404, 404, 404]),
    ("/hosts/db1/terminal?login=guest", ON_DB1),
    ("/approvals/", ADMINS),
    ("/approvals/tokens/", ADMINS),
    ("/grants/", ADMINS),
    ("/grants/explain/", ADMINS),
    ("/grants/explain/?person=alice&host=web1&login=root&capability=terminal", ADMINS),
    ("/audit/", AUDITORS),
    ("/audit/export.csv", AUDITORS),
    ("/sessions/", EVERYBODY),
    ("/sessions/?all", EVERYBODY),
    ("/sessions/export.csv", AUDITORS),
    ("/sessions/SESSION/", [302, 404, 200, 404, 200, 200]),
    ("/sessions/SESSION/watch", [302, 404, 302, 404, 404, 404]),
    ("/join/", [200, 200, 200, 200, 200, 200]),
    ("/webhooks/", ADMINS),
    ("/webhooks/WEBHOOK/", ADMINS),
    ("/people/", ADMINS),
    ("/account/", EVERYBODY),
    ("/account/keys/", [302, 302, 302, 302, 302, 302]),
    ("/admin/password_change/", [302, 302, 302, 302, 302, 302]),
]

FOR_ADMINS = [302, 403, 403, 403, 403, 302]
FORMS = [
    ("/approvals/tokens/", ADMINS),
    ("/approvals/tokens/TOKEN/revoke", FOR_ADMINS),
    ("/approvals/NEW1/approve", FOR_ADMINS),
    ("/approvals/NEW1/reject", FOR_ADMINS),
    ("/approvals/WEB1/revoke", FOR_ADMINS),
    ("/approvals/WEB1/rename", FOR_ADMINS),
    ("/approvals/WEB1/login", FOR_ADMINS),
    ("/approvals/WEB1/factor", FOR_ADMINS),
    ("/webhooks/", ADMINS),
    ("/webhooks/WEBHOOK/events", FOR_ADMINS),
    ("/webhooks/WEBHOOK/test", FOR_ADMINS),
    ("/webhooks/WEBHOOK/disable", FOR_ADMINS),
    ("/webhooks/WEBHOOK/enable", FOR_ADMINS),
    ("/webhooks/WEBHOOK/secret", ADMINS),
    ("/webhooks/WEBHOOK/remove", FOR_ADMINS),
    ("/webhooks/WEBHOOK/deliveries/DELIVERY/again", FOR_ADMINS),
    ("/people/BOB/end", FOR_ADMINS),
    ("/people/BOB/disable", FOR_ADMINS),
    ("/people/BOB/enable", FOR_ADMINS),
    ("/people/BOB/factors/remove", FOR_ADMINS),
    ("/people/groups/TEAM/factor", FOR_ADMINS),
    ("/account/logins/end-others", [302, 302, 302, 302, 302, 302]),
    ("/account/logins/LOGIN/end", [302, 404, 302, 404, 404, 404]),
    ("/grants/", ADMINS),
    ("/grants/GRANT/revoke", FOR_ADMINS),
    ("/sessions/SESSION/end", [302, 404, 302, 404, 403, 302]),
    ("/account/", EVERYBODY),
    ("/account/keys/", EVERYBODY),
    ("/account/keys/KEY/remove", [302, 404, 302, 404, 404, 404]),
    ("/account/tokens/APITOKEN/revoke", [302, 404, 302, 404, 404, 404]),
]


@pytest.fixture
def visit(request, portal):
    def as_(who: str, path: str, method: str = "get", *, csrf: bool = False) -> object:
        client = Client(enforce_csrf_checks=csrf, REMOTE_ADDR=ADDRESS)
        if who != "anonymous":
            client.force_login(request.getfixturevalue(who))
        return getattr(client, method)(portal.path(path))

    return as_


def state() -> tuple:
    """All that a form could change."""
    models = (Host, Grant, ApiToken, PersonKey, EnrollmentToken, Session, Webhook, Delivery)
    return tuple(list(model.objects.order_by("pk").values()) for model in models)


@pytest.mark.parametrize(("path", "statuses"), PAGES, ids=[path for path, _ in PAGES])
def test_pages(visit, path, statuses):
    assert [visit(who, path).status_code for who in WHO] == statuses
    if statuses[0] == 302 != statuses[-1]:
        assert visit("anonymous", path)["Location"].startswith("/login/?next=/"), "and back here afterwards"


@pytest.mark.parametrize(("path", "statuses"), FORMS, ids=[path for path, _ in FORMS])
def test_forms(visit, path, statuses):
    """Those who may not send it change nothing; an empty form of those who may is refused, or does what it says."""
    before, expected = state(), dict(zip(WHO, statuses, strict=True))
    for who in ("anonymous", "charlie", "bob", "auditor"):
        assert visit(who, path, "post").status_code == expected[who], who
    assert state() == before
    for who in ("alice", "admin"):
        assert visit(who, path, "post").status_code == expected[who], who


@pytest.mark.parametrize("path", [path for path, _ in FORMS])
def test_no_form_is_taken_from_another_site(visit, path):
    before, told = state(), events()
    for who in ("alice", "admin"):
        answer = visit(who, path, "post", csrf=True)
        assert answer.status_code == 403
        assert "Nothing was changed" in Page(answer).text
    assert (state(), events()) == (before, told)


@pytest.mark.parametrize("path", [path for path, statuses in FORMS if 200 not in statuses])
def test_following_a_link_changes_nothing(visit, path):
    before = state()
    assert visit("admin", path).status_code == 405
    assert state() == before


def test_a_form_sent_after_logging_out_leads_to_a_page_afterwards(visit):
    """Its own address answers no GET."""
    answer = visit("anonymous", "/approvals/NEW1/approve", "post")
    assert answer["Location"] == "/login/?next=/"


def test_every_route_is_in_these_tables(portal):
    in_tables = {resolve(portal.path(path).partition("?")[0]).url_name for path, _ in PAGES + FORMS}
    assert in_tables == {pattern.name for pattern in urlpatterns}


def test_disabled_people_are_out_at_once(alice, alices):
    client = Client()
    client.force_login(alice)
    assert client.get("/hosts/web1/").status_code == 200
    type(alice).objects.filter(pk=alice.pk).update(is_active=False)
    assert client.get("/hosts/web1/").status_code == 302


def test_forbidden_waiting_and_unknown_hosts_are_the_same_page(visit):
    """Byte for byte, but for the CSRF token of the log-out button."""
    for suffix in ("", "terminal", "terminal?login=root"):
        told = {plain(visit("charlie", f"/hosts/{name}/{suffix}")) for name in ("web1", "db1", "new1", "nowhere")}
        told |= {plain(visit("charlie", f"/hosts/<b>%00/{suffix}"))}
        assert len(told) == 1


def test_a_session_of_somebody_elses_is_the_same_page_as_none(visit):
    none = "/sessions/00000000-0000-4000-8000-000000000000"
    assert plain(visit("bob", "/sessions/SESSION/")) == plain(visit("bob", f"{none}/"))
    assert plain(visit("bob", "/sessions/SESSION/end", "post")) == plain(visit("bob", f"{none}/end", "post"))


def test_a_refusal_on_a_host_within_reach_says_why(visit):
    page = Page(visit("alice", "/hosts/web1/terminal?login=pi"))
    assert page.one("h1").text == "Not allowed"
    assert "pi" in page.one("main").text


def test_an_admin_is_told_how_to_become_an_auditor(visit):
    assert "add yourself to the group" in Page(visit("admin", "/audit/")).text
    assert "add yourself" not in Page(visit("alice", "/audit/")).text


def test_the_bar_shows_each_person_what_is_theirs(visit):
    sections = {who: [link.text.strip() for link in bar_links(visit(who, "/"))] for who in WHO[1:]}
    assert sections["charlie"] == sections["alice"] == sections["bob"] == ["Hosts", "Sessions"]
    assert sections["auditor"] == ["Hosts", "Sessions", "Audit"]
    assert sections["admin"] == ["Hosts", "Sessions", "Approvals1 waiting", "Grants", "Webhooks", "People", "Admin"]


def test_no_page_is_kept_by_a_cache(visit):
    for name in ("hosts", "sessions", "account"):
        assert "no-store" in visit("alice", reverse(name))["Cache-Control"]


def bar_links(answer):
    return [tag for tag in Page(answer).all("a") if tag.inside[-2:] == ("header", "nav")]


def plain(answer) -> str:
    html = answer.content.decode()
    for tag in Page(answer).all("input", name="csrfmiddlewaretoken"):
        html = html.replace(tag.attrs["value"], "")
    return f"{answer.status_code} {html}"
