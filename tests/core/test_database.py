"""`tunnels.database`: whether it can be used is known before anybody waits for it, and acts say so."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError, connection
from django.db import transaction as transactions

from brokerd import problems
from tunnels import audit, database
from tunnels.acts import act
from tunnels.audit import OPERATOR, Event
from tunnels.database import is_away, look, needed
from tunnels.errors import Conflict, DatabaseAway
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient():
    """This test's own connection waits for nobody."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 200")
    yield
    connection.close()


@pytest.fixture
def away(monkeypatch):
    monkeypatch.setattr(database, "_problem", "its disk is full")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OperationalError("database is locked"), True),
        (OperationalError("unable to open database file"), True),
        (OperationalError("database or disk is full"), True),
        (DatabaseError("database disk image is malformed"), True),
        (InterfaceError("connection already closed"), True),
        (IntegrityError("UNIQUE constraint failed"), False),
        (ProgrammingError("syntax error"), False),
        (OperationalError("no such table: tunnels_host"), False),
        (ValueError("database is locked"), False),
        (Conflict("no"), False),
    ],
    ids=str,
)
def test_which_errors_mean_that_it_is_away(error, answer):
    assert is_away(error) is answer


def test_all_is_well():
    assert look() == ""


def test_somebody_else_has_locked_it(impatient):
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert look() == "database is locked"
    finally:
        holder.close()
    assert look() == ""


def test_many_who_write_in_turn_are_no_reason(impatient, monkeypatch):
    """The lock is never free when we look, but what they write arrives."""
    sequences = iter([7, 8])
    monkeypatch.setattr(database, "newest_sequence", lambda: next(sequences))
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert look() == ""
    finally:
        holder.close()


def test_no_room_is_left(monkeypatch):
    monkeypatch.setattr(database, "LEAST_FREE", 2**62)
    assert look() == "its disk is full"


def test_a_file_that_is_missing_is_not_made_anew(tmp_path, monkeypatch):
    missing = tmp_path / "with space" / "brokerd.sqlite3"
    missing.parent.mkdir()
    found = []

    def ask() -> None:
        connection.settings_dict = {**connection.settings_dict, "NAME": missing, "OPTIONS": {}}
        database.never_made_anew()
        found.append(look())
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == ["unable to open database file"] and not missing.exists()


def test_known_to_be_away_an_act_asks_nobody(away, django_assert_num_queries):
    with django_assert_num_queries(0), pytest.raises(DatabaseAway), act(Event.SETTING_CHANGED, actor=OPERATOR):
        pytest.fail("inside")


def test_an_act_that_finds_out_says_the_same():
    with pytest.raises(DatabaseAway), act(Event.SETTING_CHANGED, actor=OPERATOR), act(Event.KEY_ADDED, actor=OPERATOR):
        raise OperationalError("disk I/O error")
    assert not AuditEvent.objects.exists()


def test_a_refusal_inside_is_still_on_record():
    with pytest.raises(Conflict), act(Event.SETTING_CHANGED, actor=OPERATOR):
        raise Conflict("no")
    assert AuditEvent.objects.get().outcome == "refused"


def test_other_errors_stay_what_they_are():
    with pytest.raises(IntegrityError), needed():
        raise IntegrityError("UNIQUE constraint failed")


@pytest.mark.parametrize(("path", "is_problem"), [("/api/v1/hosts", True), ("/", False), ("/hosts/web1/", False)])
def test_known_to_be_away_no_request_waits(away, client, django_assert_num_queries, path, is_problem):
    with django_assert_num_queries(0):
        answer = client.get(path)
    assert answer.status_code == 503 and answer["Retry-After"] == "5"
    assert (answer["Content-Type"] == problems.CONTENT_TYPE) is is_problem
    assert b"database is away" in answer.content


@pytest.mark.parametrize("path", ["/api/v1/hosts", "/"])
def test_a_request_that_finds_out_says_the_same(client, alice, monkeypatch, path):
    client.force_login(alice)
    client.raise_request_exception = False

    def broken(*args: object, **kwargs: object) -> None:
        raise OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("django.db.backends.utils.CursorWrapper.execute", broken)
        answer = client.get(path)
    assert answer.status_code == 503 and answer["Retry-After"] == "5"
    assert b"database is away" in answer.content and b"disk I/O" not in answer.content


def test_a_page_that_is_broken_otherwise_is_a_500(client, monkeypatch):
    client.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr("terminals.pages.guards._log_in_first", lambda request: 1 / 0)
        assert client.get("/").status_code == 500


def test_the_audit_is_whole_afterwards(impatient):
    with transactions.atomic():
        audit.record(Event.SETTING_CHANGED)
    assert audit.verify(AuditEvent.objects.order_by("sequence")) is None
