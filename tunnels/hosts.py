"""Acts on hosts that were enrolled: revoke, rename, change the default login or the tags."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils import timezone

from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, NotFound
from tunnels.models import Host, HostQuerySet, HostTag, State
from tunnels.requests import checked_login, checked_name
from tunnels.tokens import checked_tags


def revoke_host(*, host: Host, actor: Actor) -> Host:
    """Its key opens nothing any more; tunnel and terminal sessions end when this commits. Name and port are free."""
    with act(Event.HOST_REVOKED, actor=actor, host=host.name):
        host = lock(host)
        if host.state != State.APPROVED:
            raise Conflict(f"{host.name} is {host.state}: only an approved host can be revoked")
        decide(host, State.REVOKED, by=actor.person)
        record(Event.HOST_REVOKED, actor=actor, host=host.name, fingerprint=host.fingerprint)
        return host


def rename_host(*, host: Host, name: str, actor: Actor) -> Host:
    """Grants and history follow the row, not the name."""
    with act(Event.HOST_RENAMED, actor=actor, host=host.name, name=name):
        host, old = lock(host), host.name
        _check_holds_name(host)
        check_name_free(checked_name(name), host)
        host.name = name
        host.save(update_fields=["name"])
        record(Event.HOST_RENAMED, actor=actor, host=name, old=old, name=name)
        return host


def change_login(*, host: Host, login: str, actor: Actor) -> Host:
    """The account that a person gets who names none. Grants stay as they are: they name logins themselves."""
    with act(Event.SETTING_CHANGED, actor=actor, host=host.name, setting="login", new=login):
        host = lock(host)
        old, host.login = host.login, checked_login(login)
        host.save(update_fields=["login"])
        record(Event.SETTING_CHANGED, actor=actor, host=host.name, login=login, setting="login", old=old, new=login)
        return host


def change_tags(*, host: Host, tags: Mapping[str, str], actor: Actor) -> Host:
    """Replace the host's tags; grants by tag follow at once."""
    with act(Event.SETTING_CHANGED, actor=actor, host=host.name, setting="tags", new=dict(tags)):
        host, new = lock(host), checked_tags(tags)
        old = host.tag_map
        set_tags(host, new)
        record(Event.SETTING_CHANGED, actor=actor, host=host.name, setting="tags", old=old, new=new)
        return host


def lock(host: Host) -> Host:
    """The row as it is now, held until the act's transaction ends: what the caller saw may be old."""
    fresh = Host.objects.select_for_update().filter(pk=host.pk).first()
    if fresh is None:
        raise NotFound(f"there is no host {host.name} any more")
    return fresh


def decide(host: Host, state: State, *, by: str) -> None:
    host.state = state
    host.decided_at = timezone.now()
    host.decided_by = by
    host.save(update_fields=["state", "decided_at", "decided_by"])


def set_tags(host: Host, tags: Mapping[str, str]) -> None:
    host.tags.all().delete()
    HostTag.objects.bulk_create(HostTag(host=host, key=key, value=value) for key, value in tags.items())


def check_name_free(name: str, host: Host | None = None) -> None:
    """Conflict where another machine holds `name`."""
    if _others(host).filter(name=name).exists():
        raise Conflict(f"the name {name} is taken by another machine; choose another one")


def check_port_free(port: int, host: Host | None = None) -> None:
    """Conflict where another machine holds `port`."""
    if _others(host).filter(tunnel_port=port).exists():
        raise Conflict(f"tunnel port {port} is taken by another machine; leave it out to be given a free one")


def _others(host: Host | None) -> HostQuerySet:
    return Host.objects.named().exclude(pk__in=[host.pk] if host else [])


def _check_holds_name(host: Host) -> None:
    if host.state not in (State.PENDING, State.APPROVED):
        raise Conflict(f"{host.name} is {host.state}: it holds no name that could be changed")
