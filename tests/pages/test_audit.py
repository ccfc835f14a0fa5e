"""The audit page: filters, pages, the way to the export, and words that nobody can mistake."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import transaction
from django.utils import timezone

from terminals.pages import audit
from tests.pages.helpers import Browser, Page
from tests.people.helpers import Api
from tunnels.audit import Actor, Event, record
from tunnels.models import AuditEvent

SESSION = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def browser(auditor) -> Browser:
    browser = Browser(auditor)
    with transaction.atomic():
        alice, bob = Actor("alice", "192.0.2.1"), Actor("bob", "192.0.2.2")
        record(Event.GRANT_CREATED, actor=alice, host="web1", grant={"id": 7, "logins": ["root", "pi"], "tag": None})
        record(Event.SESSION_OPENED, actor=alice, host="web1", login="root", session=SESSION, way="browser")
        record(Event.SESSION_REFUSED, actor=bob, refused=True, host="db1", login="root", reason="no grant")
        record(Event.SETTING_CHANGED, setting="login", old="", new="pi")
    return browser


def rows(page: Page) -> list[str]:
    return [" ".join(row.text.split()) for row in page.all("tr")][1:]


def events(page: Page) -> list[str]:
    names = {event.value for event in Event}
    return [next(word for word in row.split() if word in names) for row in rows(page)]


def test_the_newest_comes_first(browser):
    page = browser.open("/audit/")
    assert events(page)[:4] == ["setting.changed", "session.refused", "session.opened", "grant.created"]
    opened, granted = rows(page)[2:4]
    for fact in ("alice", "root@web1", "192.0.2.1", "way browser", f"session {SESSION[:8]}", "#"):
        assert fact in opened
    assert "grant id 7; logins root, pi" in granted, "and nothing of what is empty"
    assert "refused" in rows(page)[1]
    assert "refused" not in opened


def test_the_place_in_the_chain(browser):
    page = browser.open("/audit/?event=session.opened")
    event = AuditEvent.objects.get(event="session.opened")
    for fact in (str(event.id), event.hash, event.previous_hash, f"#{event.sequence}"):
        assert fact in rows(page)[0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("event=session.opened", ["session.opened"]),
        ("person=alice", ["session.opened", "grant.created"]),
        ("person=alice&event=grant.created", ["grant.created"]),
        ("host=db1", ["session.refused"]),
        ("outcome=refused", ["session.refused"]),
        (f"session={SESSION}", ["session.opened"]),
        ("person=ali", []),
        ("since=1h&host=web1", ["session.opened", "grant.created"]),
        ("until=1h", []),
        ("since=2999-01-01T00:00Z", []),
        ("host=web1&before=999999999999999999999999", ["session.opened", "grant.created"]),
    ],
)
def test_filters(browser, query, expected):
    page = browser.open(f"/audit/?{query}")
    assert events(page) == expected
    assert expected or "No event fits these filters." in page.text


def test_filters_stay_filled_in(browser):
    page = browser.open("/audit/?person=alice&outcome=ok&since=1h")
    (form,) = [form for form in page.forms if form.method == "get"]
    assert form.fields == {"event": "", "person": "alice", "host": "", "outcome": "ok", "since": "1h", "until": ""}
    assert "/audit/" in [link.attrs["href"] for link in page.all("a") if link.text == "Clear"]


@pytest.mark.parametrize(
    "query", ["event=nonsense", "since=yesterday", "until=2999-01-01", "session=1", "before=-1", "person=%00"]
)
def test_a_filter_that_is_not_understood_shows_nothing(browser, query):
    """Everything would look like its answer."""
    page = browser.open(f"/audit/?{query}")
    assert page.status == 200
    assert "The filter was not understood." in page.text
    assert rows(page) == []


def test_pages(browser, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 2)
    with transaction.atomic():
        for number in range(5):
            record(Event.FILE_TRANSFERRED, actor=Actor("carol"), file=f"f{number}")
    page, seen = browser.open("/audit/?person=carol"), []
    while links := page.all("a", rel="next"):
        seen += rows(page)
        assert "person=carol" in links[0].attrs["href"]
        page = browser.open(f"/audit/{links[0].attrs['href']}")
    seen += rows(page)
    assert [row.split("file ")[1].split()[0] for row in seen] == ["f4", "f3", "f2", "f1", "f0"]
    (newest,) = [link for link in page.all("a") if link.text == "Newest"]
    assert parse_qs(urlsplit(newest.attrs["href"]).query) == {"person": ["carol"]}


def test_the_export_link_takes_the_filters_along(browser, auditor):
    page = browser.open("/audit/?person=alice&since=1h")
    (link,) = [tag for tag in page.all("a") if "data-download" in tag.attrs]
    assert link.attrs["data-accept"] == "application/x-ndjson"
    path = link.attrs["href"].removeprefix("/api/v1")
    items = Api(auditor).get(path).json()["items"]
    assert {item["event"] for item in items} == {"grant.created", "session.opened"}
    since = parse_qs(urlsplit(path).query)["since"][0]
    assert timezone.datetime.fromisoformat(since) > timezone.now() - timedelta(hours=2)


def test_nothing_can_be_changed_from_here(browser):
    page = browser.open("/audit/")
    assert [form.action for form in page.forms if form.method == "post"] == ["/logout/"]
