"""`terminals.sessions`: opened and ended once each; refusals are on record and leave nothing else."""

from __future__ import annotations

import pytest

from terminals.models import Session
from terminals.sessions import end_leftovers, end_session, note_key_mismatch, open_session
from tests.core.rows import give, session_row
from tests.people.helpers import ADDRESS, events, last_event, make_host
from tunnels.audit import Actor
from tunnels.errors import Conflict, NotAllowed, NotFound
from tunnels.models import Host

pytestmark = pytest.mark.django_db


@pytest.fixture
def web1(db) -> Host:
    return make_host("web1", online=True)


@pytest.fixture
def alices(alice, web1):
    return give(alice, web1)


def open_(person, host="web1", login="root", online=True, **more) -> Session:
    return open_session(
        person=person,
        host_name=host,
        login=login,
        node="node-1",
        address=ADDRESS,
        is_online=lambda host_id: online,
        **more,
    )


def test_opened(alice, web1, alices):
    row = open_(alice, stated_reason="disk \x1b[31mfull")
    assert (row.person, row.host, row.login, row.node, row.grant) == (alice, web1, "root", "node-1", alices)
    assert row.ended_at is None and "\x1b" not in row.stated_reason
    entry = last_event()
    assert (entry.event, entry.person, entry.host, entry.login) == ("session.opened", "alice", "web1", "root")
    assert (entry.session, entry.address) == (str(row.pk), ADDRESS)
    assert entry.detail["grant"] == alices.pk and entry.detail["way"] == "browser"


#            who, host, login, online, refusal, what they are told
REFUSED = [
    ("charlie", "web1", "root", True, NotFound, "there is no host web1 that you may reach"),
    ("charlie", "nowhere", "root", True, NotFound, "there is no host nowhere that you may reach"),
    ("alice", "nowhere", "root", True, NotFound, "there is no host nowhere that you may reach"),
    ("alice", "db1", "root", True, NotFound, "there is no host db1 that you may reach"),
    ("alice", "web1", "guest", True, NotAllowed, "does not cover login guest"),
    ("alice", "web1", "", True, NotAllowed, "does not cover login"),
    ("bob", "web1", "root", True, NotAllowed, "does not give terminal"),
    ("admin", "web1", "root", True, NotFound, "there is no host web1"),  # an admin without a grant has no shell
    ("alice", "web1", "root", False, Conflict, "web1 is offline"),
]


@pytest.mark.parametrize(("who", "host", "login", "online", "refusal", "told"), REFUSED)
def test_refused_audited_and_nothing_stored(
    who, host, login, online, refusal, told, alice, bob, charlie, admin, web1, alices
):
    make_host("db1", online=True)
    give(bob, web1, capabilities=["forward"])
    person = {"alice": alice, "bob": bob, "charlie": charlie, "admin": admin}[who]
    with pytest.raises(refusal, match=told):
        open_(person, host, login, online)
    assert not Session.objects.exists()
    assert events() == ["!session.refused"]
    entry = last_event()
    assert (entry.person, entry.host, entry.login, entry.address) == (who, host, login, ADDRESS)
    assert entry.outcome == "refused" and entry.detail["reason"]


def test_ended_once(alice, web1):
    row = session_row(alice, web1)
    assert end_session(session_id=row.pk, reason="the program ended\x07", bytes_in=3, bytes_out=4) is True
    assert end_session(session_id=row.pk, reason="again", actor=Actor("admin"), bytes_in=5, bytes_out=6) is False
    row.refresh_from_db()
    assert (row.reason, row.ended_by) == ("the program ended<U+0007>", "")
    assert (row.bytes_in, row.bytes_out) == (5, 6), "the node's count comes last, after a person has ended the row"
    assert events() == ["session.ended"]
    assert last_event().person == "alice" and last_event().detail["bytes_out"] == 4


def test_ended_by_an_admin(alice, web1):
    row = session_row(alice, web1)
    end_session(session_id=row.pk, reason="ended by admin", actor=Actor("admin", "192.0.2.1"))
    row.refresh_from_db()
    assert row.ended_by == "admin"
    assert (last_event().person, last_event().detail["owner"]) == ("admin", "alice")


def test_another_key_is_on_record(alice, web1):
    row = session_row(alice, web1)
    note_key_mismatch(session_id=row.pk)
    entry = last_event()
    assert (entry.event, entry.outcome, entry.host) == ("host.key_mismatch", "refused", "web1")
    assert entry.session == str(row.pk)


def test_what_another_run_left_open_is_ended(alice, web1):
    ours, left = session_row(alice, web1), session_row(alice, web1, node="node-0", bytes_in=1, bytes_out=2)
    end_leftovers(node="node-1")
    end_leftovers(node="node-1")
    ours.refresh_from_db()
    left.refresh_from_db()
    assert ours.ended_at is None
    assert left.ended_at is not None and (left.reason, left.bytes_out) == ("broker lost", 2)
    assert events() == ["session.ended"]
