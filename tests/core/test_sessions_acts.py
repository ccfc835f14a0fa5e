"""`terminals.sessions`: opened and ended once each; refusals are on record and leave nothing else."""

from __future__ import annotations

import pytest

from terminals.access import Capability
from terminals.models import Session
from terminals.second_factor import BY_TOKEN
from terminals.sessions import (
    end_leftovers,
    end_session,
    note_key_mismatch,
    note_transfers,
    open_forward,
    open_session,
)
from tests.core.rows import give, session_row
from tests.people.helpers import ADDRESS, events, last_event, make_host
from tunnels.audit import Actor
from tunnels.errors import Conflict, Invalid, NotAllowed, NotFound
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
        proof=BY_TOKEN,
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


# Ways to hosts, end to end


def way(person, name="web1", port=22, online=True) -> Session:
    return open_forward(
        person=person,
        name=name,
        port=port,
        node="node-1",
        address=ADDRESS,
        proof=BY_TOKEN,
        is_online=lambda host_id: online,
    )


@pytest.mark.parametrize("by", ["name", "tunnel port", "loopback"])
def test_a_way_to_a_host(alice, web1, by):
    grant = give(alice, web1, capabilities=["forward"])
    place = {"name": ("web1", 22), "tunnel port": ("web1", web1.tunnel_port), "loopback": ("::1", web1.tunnel_port)}
    row = way(alice, *place[by])
    assert (row.host, row.login, row.way, row.grant) == (web1, "", Session.Way.END_TO_END, grant)
    assert not row.has_terminal
    entry = last_event()
    assert (entry.event, entry.host, entry.login) == ("forward.opened", "web1", "")
    assert entry.detail["note"] == "end to end, not recorded"
    end_session(session_id=row.pk, reason="the client closed it", bytes_in=1, bytes_out=2)
    assert last_event().event == "forward.closed"


WAYS_REFUSED = [
    ("charlie", "web1", 22, True, NotFound, "there is no host web1 that you may reach"),
    ("alice", "nowhere", 22, True, NotFound, "there is no host nowhere that you may reach"),
    ("alice", "web1", 80, True, Invalid, "only the SSH server of web1 can be reached"),
    ("alice", "localhost", 22, True, NotFound, "there is no host at tunnel port 22"),
    ("charlie", "localhost", 0, True, NotFound, "there is no host at tunnel port"),
    ("bob", "web1", 22, True, NotAllowed, "does not give forward"),
    ("alice", "web1", 22, False, Conflict, "web1 is offline"),
    ("alice", "evil\x1b[31m\nhost", 22, True, NotFound, "there is no host evil<U"),
]


@pytest.mark.parametrize(("who", "name", "port", "online", "refusal", "told"), WAYS_REFUSED)
def test_a_way_that_is_refused(who, name, port, online, refusal, told, alice, bob, charlie, web1):
    """`port` 0 stands for the host's own: to charlie it is as if there were none."""
    give(alice, web1, capabilities=["forward"])
    give(bob, web1)
    person = {"alice": alice, "bob": bob, "charlie": charlie}[who]
    with pytest.raises(refusal, match=told):
        way(person, name, port or web1.tunnel_port, online)
    assert not Session.objects.exists() and events() == ["!forward.refused"]
    assert last_event().person == who and "\x1b" not in last_event().host


@pytest.mark.parametrize(("logins", "chosen"), [(["root", "pi"], "pi"), (["root", "admin"], "admin")])
def test_without_a_login_it_is_the_hosts_default_or_the_first(alice, web1, logins, chosen):
    Host.objects.filter(pk=web1.pk).update(login="pi")
    give(alice, web1, *logins)
    assert open_(alice, login=None).login == chosen


def test_without_a_login_that_fits_it_is_refused(alice, web1, alices):
    with pytest.raises(NotAllowed, match="no grant gives alice sftp on web1"):
        open_(alice, login=None, capability=Capability.SFTP)


def test_files_are_put_on_record(alice, web1):
    row = session_row(alice, web1)
    note_transfers(session_id=row.pk, files=[{"path": "/tmp/a\x1b", "direction": "upload", "bytes": 1}] * 2)
    assert events() == ["file.transferred"] * 2
    assert last_event().session == str(row.pk) and "\x1b" not in last_event().detail["path"]
