"""`tunnels.acts`: what is done and what is refused, each with its audit, and nothing in between."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.machines.helpers import ADMIN, ask, events
from tunnels.acts import act, check
from tunnels.audit import Event, record
from tunnels.errors import Conflict, Invalid, NotAllowed
from tunnels.models import AuditEvent, Host

pytestmark = pytest.mark.django_db(transaction=True)


def change(name: str) -> None:
    Host.objects.update(name=name)
    record(Event.HOST_RENAMED, actor=ADMIN, host=name)


@pytest.fixture
def host(open_enrollment) -> Host:
    host = ask("web1")
    AuditEvent.objects.all()._raw_delete("default")  # so that each test counts its own
    return host


def test_an_act_that_ends_well_is_kept(host):
    with act(Event.HOST_RENAMED, actor=ADMIN, host="web1"):
        change("web2")
    assert events() == ["host.renamed"] and Host.objects.get().name == "web2"


def test_a_refusal_undoes_everything_and_is_audited(host):
    with pytest.raises(NotAllowed, match="no"), act(Event.HOST_RENAMED, actor=ADMIN, host="web1", tried="x") as facts:
        facts["found"] = "y"
        change("web2")
        raise NotAllowed("no", cause="the moon is full")
    assert Host.objects.get().name == "web1"
    entry = AuditEvent.objects.get()
    assert (entry.event, entry.outcome, entry.person, entry.host) == ("host.renamed", "refused", "admin", "web1")
    assert entry.address == ADMIN.address
    assert entry.detail == {"tried": "x", "found": "y", "reason": "the moon is full"}


def test_a_refusal_inside_another_act_is_told_by_both(host):
    with pytest.raises(Conflict), act(Event.HOST_APPROVED, actor=ADMIN):
        change("web2")
        with act(Event.GRANT_CREATED, actor=ADMIN):
            raise Conflict("taken")
    assert Host.objects.get().name == "web1"
    assert events() == ["!grant.created", "!host.approved"]


def test_an_inner_refusal_that_is_caught_is_not_a_refusal(host):
    with act(Event.HOST_RENAMED, actor=ADMIN):
        with pytest.raises(Invalid), act(Event.GRANT_CREATED, actor=ADMIN):
            raise Invalid("no")
        change("web2")
    assert events() == ["host.renamed"]


def test_any_other_error_is_no_refusal(host):
    with pytest.raises(ZeroDivisionError), act(Event.HOST_RENAMED, actor=ADMIN):
        change("web2")
        _ = 1 / 0
    assert events() == [] and Host.objects.get().name == "web1"
    with act(Event.HOST_RENAMED, actor=ADMIN):  # the frame is left in order
        change("web3")
    assert not connection.in_atomic_block


def test_a_check_that_is_passed_writes_nothing_and_waits_for_nobody(host, django_assert_num_queries):
    with django_assert_num_queries(0), check(Event.GRANT_CREATED, actor=ADMIN):
        assert not connection.in_atomic_block
    assert events() == []


def test_a_check_that_refuses_is_on_record(host):
    with pytest.raises(NotAllowed), check(Event.HOST_REVOKED, actor=ADMIN, host="web1"):
        raise NotAllowed("no", cause="not an admin")
    entry = AuditEvent.objects.get()
    assert (entry.event, entry.outcome, entry.host) == ("host.revoked", "refused", "web1")
    assert entry.detail == {"reason": "not an admin"}


def test_a_check_inside_of_an_act_is_told_by_both(host):
    with pytest.raises(Conflict), act(Event.HOST_APPROVED, actor=ADMIN):
        change("web2")
        with check(Event.GRANT_CREATED, actor=ADMIN):
            raise Conflict("taken")
    assert Host.objects.get().name == "web1" and events() == ["!grant.created", "!host.approved"]
