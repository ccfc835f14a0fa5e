"""`tunnels.presence`: one lease by host, epochs that count up, closed once and only by whoever holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from terminals.presence import presence
from tests.people.helpers import events, last_event, make_host
from tunnels.errors import NotAllowed
from tunnels.models import AuditEvent, Host, State, Tunnel
from tunnels.presence import close_leftovers, close_tunnel, note_refusal, open_tunnel, renew_leases

pytestmark = pytest.mark.django_db


@pytest.fixture
def web1(db) -> Host:
    return make_host("web1")


def open_(host: Host, node: str = "node-1", lease_s: int = 35) -> int:
    return open_tunnel(
        host_id=host.pk, node=node, address="198.51.100.7", client="SSH-2.0-Open\x1bSSH", lease_s=lease_s
    )


def seen(host: Host):
    return presence(Host.objects.with_presence().get(pk=host.pk))


def test_opened_and_closed(web1):
    assert seen(web1).offline_reason == "never connected"
    epoch = open_(web1)
    assert epoch == 1 and seen(web1).online
    assert Tunnel.objects.get().client == "SSH-2.0-Open<U+001B>SSH"
    close_tunnel(host_id=web1.pk, epoch=epoch, reason="the agent closed\nthe connection")
    assert not seen(web1).online and seen(web1).offline_reason == "the agent closed<U+000A>the connection"
    assert events() == ["tunnel.opened", "tunnel.closed"]
    assert last_event().address == "198.51.100.7" and last_event().detail["epoch"] == 1


def test_a_new_tunnel_takes_the_next_epoch_and_the_old_one_closes_nothing(web1):
    old = open_(web1)
    new = open_(web1)
    assert new == old + 1
    close_tunnel(host_id=web1.pk, epoch=old, reason="replaced")
    assert seen(web1).online
    assert AuditEvent.objects.filter(event="tunnel.opened").count() == 2
    assert AuditEvent.objects.filter(event="tunnel.closed").count() == 1, "each tunnel's end is told once"
    close_tunnel(host_id=web1.pk, epoch=new, reason="gone")
    close_tunnel(host_id=web1.pk, epoch=new, reason="gone again")
    assert AuditEvent.objects.filter(event="tunnel.closed").count() == 2
    assert seen(web1).offline_reason == "gone"
    assert open_(web1) == new + 1 and seen(web1).online


@pytest.mark.parametrize("state", [State.PENDING, State.REJECTED, State.REVOKED])
def test_only_an_approved_host_gets_one(state):
    host = make_host("web2", state=state)
    with pytest.raises(NotAllowed, match=f"host web2 is {state}"):
        open_(host)
    assert not Tunnel.objects.exists() and events() == []


def test_the_lease_is_by_the_databases_clock(web1, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    open_(web1, lease_s=3600)
    with connection.cursor() as cursor:
        cursor.execute("SELECT strftime('%s', lease_until) - strftime('%s', 'now') FROM tunnels_tunnel")
        assert 3000 <= cursor.fetchone()[0] <= 3601


def test_a_lease_that_nobody_renews_runs_out(web1):
    open_(web1)
    Tunnel.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert not seen(web1).online and seen(web1).offline_reason == "no sign of life"
    renew_leases(node="node-1", host_ids=[web1.pk], lease_s=35)
    assert seen(web1).online


def test_only_ones_own_live_tunnels_are_renewed(web1):
    other = make_host("web2")
    epoch = open_(web1)
    open_(other, node="node-2")
    past = timezone.now() - timedelta(seconds=1)
    close_tunnel(host_id=web1.pk, epoch=epoch, reason="gone")
    Tunnel.objects.update(lease_until=past)
    renew_leases(node="node-1", host_ids=[web1.pk, other.pk], lease_s=35)
    assert set(Tunnel.objects.values_list("lease_until", flat=True)) == {past}
    renew_leases(node="node-1", host_ids=[], lease_s=35)


def test_what_another_run_left_open_is_closed(web1):
    other = make_host("web2")
    open_(web1, node="node-0")
    open_(other, node="node-1")
    close_leftovers(node="node-1")
    assert not seen(web1).online and "stopped without closing" in seen(web1).offline_reason
    assert seen(other).online
    assert events() == ["tunnel.opened", "tunnel.opened", "tunnel.closed"]


def test_a_refusal_is_on_record(db):
    note_refusal(host="web1", address="198.51.100.7", reason="bind address '\u202e' is not localhost")
    entry = last_event()
    assert (entry.event, entry.outcome, entry.host) == ("tunnel.refused", "refused", "web1")
    assert "\u202e" not in entry.detail["reason"]
