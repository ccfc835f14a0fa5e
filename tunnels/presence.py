"""The database's side of a tunnel: a lease that its node holds, opened and closed once, conditional on its epoch."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.functions import Now

from tunnels import audit
from tunnels.audit import Actor, Event
from tunnels.errors import NotAllowed
from tunnels.models import Host, State, Tunnel
from tunnels.spool import fact
from tunnels.text import printable

REPLACED = "replaced by a new connection with the same key"
LOCAL = "local, end to end, not recorded"


def _lease(seconds: int) -> ExpressionWrapper:
    return ExpressionWrapper(Now() + Value(timedelta(seconds=seconds)), output_field=DateTimeField())


@transaction.atomic
def open_tunnel(*, host_id: UUID, node: str, address: str, client: str, lease_s: int) -> int:
    """Take the host's lease with the next epoch, which is returned. NotAllowed where the host is not approved now."""
    host = Host.objects.select_related("tunnel").get(pk=host_id)
    if host.state != State.APPROVED:
        raise NotAllowed(f"host {host.name} is {host.state}")
    epoch = 1
    if hasattr(host, "tunnel"):
        # The one before closes a moment later, when its epoch is no longer the row's: its end is told here.
        close_tunnel(host_id=host_id, epoch=host.tunnel.epoch, reason=REPLACED)
        epoch = host.tunnel.epoch + 1
    facts = {
        "node": node,
        "epoch": epoch,
        "address": address,
        "client": printable(client, 128),
        "opened_at": Now(),
        "lease_until": _lease(lease_s),
        "closed_at": None,
        "reason": "",
    }
    Tunnel.objects.update_or_create(host=host, defaults=facts)
    audit.record(Event.TUNNEL_OPENED, actor=Actor(address=address), host=host.name, epoch=epoch, client=client)
    return epoch


@fact
@transaction.atomic
def close_tunnel(*, host_id: UUID, epoch: int, reason: str) -> None:
    """Let go of the lease, where it is still this tunnel's; the host is offline at once."""
    reason = printable(reason, 200)
    mine = Tunnel.objects.filter(host=host_id, epoch=epoch, closed_at=None)
    tunnel = mine.select_related("host").first()
    if tunnel is None:
        return
    mine.update(closed_at=Now(), reason=reason)
    audit.record(
        Event.TUNNEL_CLOSED, actor=Actor(address=tunnel.address), host=tunnel.host.name, epoch=epoch, reason=reason
    )


def renew_leases(*, node: str, host_ids: Collection[UUID], lease_s: int) -> None:
    """The node's sign of life for all the tunnels that it holds."""
    Tunnel.objects.filter(node=node, closed_at=None, host__in=host_ids).update(lease_until=_lease(lease_s))


def close_leftovers(*, node: str) -> None:
    """At start: what another run of the broker left open is closed. There is one node on an embedded database."""
    for tunnel in Tunnel.objects.filter(closed_at=None).exclude(node=node):
        close_tunnel(host_id=tunnel.host_id, epoch=tunnel.epoch, reason="the broker stopped without closing it")


def addresses() -> set[str]:
    """From where the newest tunnels of approved hosts came."""
    return set(Tunnel.objects.filter(host__state=State.APPROVED).values_list("address", flat=True))


@fact
@transaction.atomic
def note_local_opened(*, host: str, address: str, port: int) -> None:
    """Somebody on the broker's own machine dialled a bound tunnel port; there is no telling who."""
    audit.record(Event.FORWARD_OPENED, actor=Actor(address=address), host=host, port=port, recorded=False, note=LOCAL)


@fact
@transaction.atomic
def note_local_closed(*, host: str, address: str, port: int, reason: str, bytes_in: int, bytes_out: int) -> None:
    audit.record(
        Event.FORWARD_CLOSED,
        actor=Actor(address=address),
        host=host,
        port=port,
        reason=reason,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        note=LOCAL,
    )


@fact
@transaction.atomic
def note_refusal(*, host: str, address: str, reason: str) -> None:
    audit.record(Event.TUNNEL_REFUSED, actor=Actor(address=address), refused=True, host=host, reason=reason)
