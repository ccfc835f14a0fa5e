"""Whose terminal sessions a list shows."""

from __future__ import annotations

import pytest

from terminals.sessions import end_session
from tests.core.rows import session_row
from tests.people.helpers import Api, make_token


@pytest.fixture
def rows(alice, bob, admin, web1, db1):
    """A live session of each, and one of the admin's that has ended."""
    live = {person.username: str(session_row(person, web1).pk) for person in (alice, bob, admin)}
    past = session_row(admin, db1)
    end_session(session_id=past.pk, reason="the shell ended")
    return {**live, "past": str(past.pk)}


def listed(api: Api, query: str) -> set[str]:
    return {item["id"] for item in api.get(f"/sessions{query}").json()["items"]}


def test_three_people(alice, bob, charlie, rows):
    for query in ("", "?live=1", "?live=1&mine=1", "?mine=0"):
        assert listed(Api(alice), query) == {rows["alice"]}
        assert listed(Api(bob), query) == {rows["bob"]}
        assert listed(Api(charlie), query) == set()


def test_an_admin_and_an_auditor_may_ask_for_their_own(admin, auditor, rows):
    assert listed(Api(admin), "") == set(rows.values())
    assert listed(Api(admin), "?mine=1") == {rows["admin"], rows["past"]}
    assert listed(Api(admin), "?live=1&mine=1") == {rows["admin"]}
    assert listed(Api(auditor), "?live=1&mine=1") == set()
    by_token = Api(token=make_token(admin, "sessions"), csrf=False)
    assert listed(by_token, "?live=1&mine=1") == {rows["admin"]}


def test_mine_is_yes_or_no(alice):
    assert Api(alice).get("/sessions?mine=alice").status_code == 422
