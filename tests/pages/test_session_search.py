"""The search box of the sessions' page: lines of recordings that one may play, with links to their moments."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from terminals.grants import create_grant
from terminals.models import Session
from terminals.pages.session_search import MAX_HITS
from terminals.recording.store import root
from terminals.replay.search import NAME, store
from terminals.second_factor import set_second_factor
from tests.pages.helpers import Browser, Page
from tests.pages.past import past, recorded
from tests.pages.test_markup import check_nothing_inline
from tests.people.helpers import events, last_event
from tunnels.audit import OPERATOR

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.BROKERD = replace(settings.BROKERD, data_dir=tmp_path)


@pytest.fixture
def hers(alice, web1) -> Session:
    session = recorded(past(alice, web1, ago_h=5))
    store(root(), session.pk, [(1.5, "$ df -h"), (65.2, "/dev/sda1 100% full"), (130.0, "$ exit")])
    return session


@pytest.fixture
def his(bob, db1) -> Session:
    session = recorded(past(bob, db1, ago_h=2))
    store(root(), session.pk, [(3.0, "the disk is full of /dev/sda1")])
    return session


def search(person, words: str, more: str = "&all") -> Page:
    return Browser(person).open(f"/sessions/?q={words}{more}")


def whose(page: Page) -> list[str]:
    return [
        tag.text.split(",")[0] for tag in page.all("span") if tag.attrs.get("class") == "muted" and "UTC" in tag.text
    ]


def test_found_with_a_link_to_the_moment(alice, hers):
    page = search(alice, "full", "")
    assert len(page.all("li")) == 1
    link, shown = (tag for tag in page.tags if tag.inside[-1:] == ("li",))
    assert link.attrs["href"] == f"/sessions/{hers.pk}/#t=65.2"
    assert (link.text, shown.text) == ("1:05", "/dev/sda1 100% full")
    assert [mark.text for mark in page.all("mark")] == ["full"]
    assert page.one("h3").text == "root@web1"


def test_each_finds_what_they_may_play(alice, bob, charlie, auditor, admin, hers, his):
    for query in ("sda1", "full", "sda1&person=alice", "sda1&person=bob"):
        for person, allowed in ((alice, {"alice"}), (bob, {"bob"}), (charlie, set()), (admin, set())):
            assert set(whose(search(person, query))) <= allowed, (person, query)
    assert whose(search(alice, "sda1")) == ["alice"]
    assert whose(search(bob, "sda1")) == ["bob"]
    assert whose(search(auditor, "sda1")) == ["bob", "alice"], "newest first"
    assert whose(search(auditor, "sda1", "")) == [], "their own, where they do not ask for all"


def test_an_observer_finds_nothing_of_others(charlie, web1, hers):
    create_grant(person=charlie, host=web1, logins=["root"], capabilities=["observe"], actor=OPERATOR)
    assert whose(search(charlie, "full")) == []


def test_filters_narrow_it(auditor, hers, his):
    assert whose(search(auditor, "sda1", "&all&person=bob")) == ["bob"]
    assert whose(search(auditor, "sda1", "&all&host=web1")) == ["alice"]
    assert whose(search(auditor, "sda1", "&all&since=3h")) == ["bob"]
    page = search(auditor, "sda1", "&all&person=bob")
    assert page.one("input", id="id_q").attrs["value"] == "sda1"
    assert page.one("input", id="id_person").attrs["value"] == "bob"


def test_hosts_that_ask_for_a_second_factor_are_left_out_without_one(auditor, web1, hers, his):
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    page = search(auditor, "sda1")
    assert whose(page) == ["bob"]
    (link,) = [tag for tag in page.all("a") if tag.text == "Confirm it"]
    assert link.attrs["href"] == "/account/confirm/?next=%2Fsessions%2F%3Fq%3Dsda1%26all"
    assert "second factor" not in search(auditor, "sda1", "&all&person=bob").text, "nothing of theirs was left out"


def test_it_is_on_record(auditor, hers, his):
    before = len(events())
    search(auditor, "nothing+of+that+kind")
    assert events()[before:] == [], "who saw nothing viewed nothing"
    search(auditor, "df")
    told = last_event()
    assert (told.event, told.person, told.detail["words"]) == ("recording.viewed", "auditor", "df")
    assert told.detail["sessions"] == [str(hers.pk)]


def test_words_that_are_none(alice, hers):
    for words in ("%22", "*", "NEAR(", "%00", "'+OR+1%3D1--", "x" * 201, "%F0%9F%98%80", "%ED%A0%80"):
        page = search(alice, words)
        assert page.status == 200
        assert whose(page) == []
    assert "Nothing found" in page.text


def test_a_damaged_search_is_told_and_takes_nothing_with_it(alice, hers):
    (root() / NAME).write_bytes(b"this is no database" * 1000)
    page = search(alice, "full")
    assert "an admin can" in page.one("div", role="alert").text and "Nothing found" not in page.text
    assert Browser(alice).open("/sessions/").status == 200


def test_a_session_that_is_gone_from_the_database(alice, hers):
    store(root(), uuid4(), [(0.0, "full")])
    assert whose(search(alice, "full")) == ["alice"]


def test_hostile_output_is_text(alice, web1):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ settings }}"
    session = recorded(past(alice, web1))
    store(root(), session.pk, [(1.0, evil)])
    page = search(alice, "alert")
    check_nothing_inline(page)
    assert page.one("code").text == evil
    assert not page.all("img", src="x")


def test_it_is_bounded(auditor, alice, web1):
    for number in range(40):
        session = recorded(past(alice, web1, ago_h=number + 1))
        store(root(), session.pk, [(float(second), "full") for second in range(50)])
    assert len(search(auditor, "full").all("li")) <= MAX_HITS
