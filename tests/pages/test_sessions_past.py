"""Past sessions: filtered, added up, a page at a time, quick with ten thousand; and taken away for a spreadsheet."""

from __future__ import annotations

import csv
import io
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.pages.helpers import Browser, Page
from tests.pages.past import many, past, recorded
from tests.people.helpers import events, last_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def all_of_them(alice, bob, web1, db1) -> None:
    """alice on web1 twice, bob on db1 twice."""
    recorded(past(alice, web1, ago_h=1, bytes_in=1, bytes_out=99))
    recorded(past(alice, web1, ago_h=30, lasted_h=2, way="ssh"), "failed", problem="the disk is full")
    past(bob, db1, ago_h=3, way="end-to-end", login="")
    recorded(past(bob, db1, ago_h=200, login="guest"), "pruned")


def rows(page: Page) -> list[str]:
    """The past ones, each as one line of text."""
    begin = next(index for index, tag in enumerate(page.tags) if tag.attrs.get("data-list") == "past_sessions")
    return [" ".join(tag.text.split()) for tag in page.tags[begin:] if tag.name == "tr"]


def whose(page: Page) -> list[str]:
    return [f"{'alice' if 'alice' in row else 'bob'} {row.split()[0]}" for row in rows(page)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["alice root@web1", "bob db1", "alice root@web1", "bob guest@db1"]),
        ("person=bob", ["bob db1", "bob guest@db1"]),
        ("host=web1", ["alice root@web1", "alice root@web1"]),
        ("way=ssh", ["alice root@web1"]),
        ("way=end-to-end", ["bob db1"]),
        ("recorded=recorded", ["alice root@web1"]),
        ("recorded=failed", ["alice root@web1"]),
        ("recorded=pruned", ["bob guest@db1"]),
        ("recorded=not+recorded", ["bob db1"]),
        ("since=4h", ["alice root@web1", "bob db1"]),
        ("until=4h", ["alice root@web1", "bob guest@db1"]),
        ("since=29h&until=28h", ["alice root@web1"]),
        ("person=bob&host=web1", []),
        ("person=nobody", []),
        ("since=soon", None),
        ("way=by+foot", None),
    ],
)
def test_filters(auditor, all_of_them, query, expected):
    page = Browser(auditor).open(f"/sessions/?all&{query}")
    if expected is None:
        assert "The filter was not understood." in page.text and rows(page) == []
    else:
        assert whose(page) == expected
        assert expected or "No past session fits these filters." in page.text


def test_what_they_add_up_to(auditor, all_of_them):
    browser = Browser(auditor)
    assert "4 sessions, 3.5 h, 100\xa0bytes" in browser.open("/sessions/?all").one("p", **{"class": "totals"}).text
    assert "2 sessions, 1.0 h" in browser.open("/sessions/?all&person=bob").one("p", **{"class": "totals"}).text
    assert "1 session, 2.0 h" in browser.open("/sessions/?all&way=ssh").one("p", **{"class": "totals"}).text


def test_nobody_filters_their_way_to_others(alice, bob, charlie, all_of_them):
    assert len(rows(Browser(alice).open("/sessions/?all&person=bob"))) == 0
    assert whose(Browser(bob).open("/sessions/?all&recorded=pruned&person=bob")) == ["bob guest@db1"]
    page = Browser(charlie).open("/sessions/?all&host=web1")
    assert rows(page) == [] and page.one("p", **{"class": "totals"}).text == ""


def test_what_became_of_the_recording(alice, auditor, admin, all_of_them):
    def said(person, query: str = "?all&person=alice") -> list[str]:
        page = Browser(person).open(f"/sessions/{query}")
        return [" ".join(tag.text.split()) for tag in page.all("td", **{"data-label": "Recording"})]

    assert said(alice, "") == ["Play", "failed Play the disk is full"]
    assert said(auditor) == ["Play", "failed Play the disk is full"]
    assert said(admin) == ["recorded", "failed the disk is full"], "being admin opens no recording"
    assert said(auditor, "?all&person=bob") == ["not recorded", "pruned"]


def test_filters_stay_on_the_way_through_the_pages(auditor, alice, bob, web1, db1):
    many(250, [alice, bob], [web1, db1])
    browser, seen = Browser(auditor), []
    page = browser.open("/sessions/?all&person=alice&since=30d")
    while True:
        assert {row.split()[1] for row in rows(page)} == {"alice"}
        seen += [tag.attrs["data-key"] for tag in page.all("tr") if "data-key" in tag.attrs]
        if not (links := page.all("a", rel="next")):
            break
        page = browser.open(f"/sessions/{links[0].attrs['href']}")
    assert (len(seen), len(set(seen))) == (125, 125), "also where many began at the same moment"
    assert page.one("a", href="?all=&person=alice&since=30d").text == "Newest"


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "%00",
        "W10",
        urlsafe_b64encode(b'["0001-01-01T00:00:00+14:00", "x"]').decode(),
        urlsafe_b64encode(b'["9999-12-31T23:59:59-14:00", "00000000-0000-4000-8000-000000000000"]').decode(),
        urlsafe_b64encode(b'["0001-01-01T00:00:00+14:00", "00000000-0000-4000-8000-000000000000"]').decode(),
    ],
)
def test_a_cursor_that_is_none(alice, web1, cursor):
    past(alice, web1)
    page = Browser(alice).open(f"/sessions/?before={cursor}")
    assert page.status == 200


@contextmanager
def steps() -> Iterator[list[int]]:
    """What the database has to do, in thousands of its own steps: how long they take is the machine's affair."""
    taken, database = list[int](), connection.connection
    database.set_progress_handler(lambda: taken.append(1000), 1000)
    try:
        yield taken
    finally:
        database.set_progress_handler(None, 0)


def test_ten_thousand(auditor, alice, bob, web1, db1):
    """As many questions to the database as with ten, and each row looked at once, so that the answer comes at once."""
    browser = Browser(auditor)
    path = "/sessions/?all&person=alice&recorded=recorded&since=9000h"
    many(10, [alice, bob], [web1, db1])
    browser.open(path)
    with CaptureQueriesContext(
        connection,
    ) as few:
        assert len(rows(browser.open(path))) < 10
    many(10_000, [alice, bob], [web1, db1])
    with CaptureQueriesContext(connection) as lots:
        assert len(rows(browser.open(path))) == 50
    assert len(lots) == len(few) <= 16
    for query in (path, "/sessions/?all"):
        with steps() as taken:
            browser.open(query)
        assert 10_000 < sum(taken) < 300_000, "half of that adds them up; the page itself needs hardly any"
    seen = browser.page.one("div", **{"class": "live"}).attrs["data-seen"]
    with CaptureQueriesContext(connection) as polled:
        assert browser.poll("/sessions/?all", seen).status_code == 204
    assert not [query for query in polled.captured_queries if "SUM(" in query["sql"]], "nothing is added up again"


# CSV


def export(browser: Browser, query: str = "") -> list[list[str]]:
    answer = browser.client.get(f"/sessions/export.csv{query}")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv"
    assert answer["Content-Disposition"] == 'attachment; filename="sessions.csv"'

    async def read() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return list(csv.reader(io.StringIO(async_to_sync(read)().decode())))


def test_taken_away(auditor, all_of_them):
    header, *lines = export(Browser(auditor))
    assert header[:8] == ["session", "person", "host", "login", "way", "started", "ended", "seconds"]
    assert [line[1:5] for line in lines] == [
        ["bob", "db1", "guest", "browser"],
        ["alice", "web1", "root", "ssh"],
        ["bob", "db1", "", "end-to-end"],
        ["alice", "web1", "root", "browser"],
    ]
    assert lines[1][7] == "7200"
    told = last_event()
    assert (told.event, told.person) == ("audit.exported", "auditor")
    assert told.detail["filters"] == {"form": "CSV", "what": "sessions"}


def test_taken_away_by_filter(auditor, all_of_them):
    browser = Browser(auditor)
    page = browser.open("/sessions/?all&person=bob&since=10h")
    (link,) = page.all("a", download="sessions.csv")
    _, *lines = export(browser, link.attrs["href"].removeprefix("/sessions/export.csv"))
    assert [line[1:5] for line in lines] == [["bob", "db1", "", "end-to-end"]]
    assert last_event().detail["filters"]["person"] == "bob"
    assert browser.client.get("/sessions/export.csv?since=soon").status_code == 400


def test_all_of_a_large_log(auditor, alice, bob, web1, db1, monkeypatch):
    monkeypatch.setattr("terminals.session_log.BATCH", 7)
    many(50, [alice, bob], [web1, db1])
    _, *lines = export(Browser(auditor))
    assert (len(lines), len({line[0] for line in lines})) == (50, 50)
    assert [line[5] for line in lines] == sorted(line[5] for line in lines)


@pytest.mark.parametrize("evil", ["=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"])
def test_no_cell_is_a_formula(auditor, alice, web1, evil):
    past(alice, web1, reason=evil, stated_reason=evil, login=evil)
    (_, line) = export(Browser(auditor))
    told = [line[3], line[8], line[10]]
    assert [cell for cell in told if cell[0] not in "'<"] == [], "text, or a control character made visible"


@pytest.mark.parametrize("who", ["alice", "bob", "charlie", "admin"])
def test_only_auditors_take_it_away(request, who, all_of_them):
    browser = Browser(request.getfixturevalue(who))
    assert "export.csv" not in browser.open("/sessions/?all").html
    assert browser.client.get("/sessions/export.csv").status_code == 403
    assert "audit.exported" not in events()


def test_a_session_over_midnight_is_in_both_days(auditor, alice, web1):
    past(alice, web1, ago_h=10, lasted_h=4)
    noon = timezone.now() - timedelta(hours=8)
    for since, until in ((-1, 1), (-5, 1), (-1, 5), (-5, 5)):
        span = f"since={stamp(noon, since)}&until={stamp(noon, until)}"
        assert len(rows(Browser(auditor).open(f"/sessions/?all&{span}"))) == 1, (since, until)
    for since, until in ((-9, -3), (3, 7)):
        span = f"since={stamp(noon, since)}&until={stamp(noon, until)}"
        assert rows(Browser(auditor).open(f"/sessions/?all&{span}")) == []


def stamp(noon, hours: int) -> str:
    return (noon + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
