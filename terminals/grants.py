"""Grants are made and revoked here, never edited: what was allowed on a day can be told from the audit for ever."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from django.contrib.auth.models import Group

from terminals.access import Capability
from terminals.limits import GrantLimits
from terminals.models import Grant, Person
from terminals.moments import check_moment
from tunnels import clock
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, Invalid
from tunnels.models import Host
from tunnels.rules import is_login, is_tag

MAX_LOGINS = 64
MAX_NETWORKS = 64
LIMIT_S = range(10, 30 * 86400 + 1)
"""Below, nobody could work or come back after a hiccup; beyond, it limits nothing."""
NO_LIMITS = GrantLimits()


def create_grant(
    *,
    actor: Actor,
    person: Person | None = None,
    group: Group | None = None,
    host: Host | None = None,
    tag: tuple[str, str] | None = None,
    all_hosts: bool = False,
    logins: Iterable[str],
    capabilities: Iterable[str] = (Capability.TERMINAL,),
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    networks: Iterable[str] = (),
    limits: GrantLimits = NO_LIMITS,
) -> Grant:
    """Let `person` or `group` use `logins` on `host`, the hosts with `tag` or all. Invalid or Conflict says why not.

    `limits` tighten those of the node for the terminals that it allows; they never loosen them.
    """
    name = host.name if host else ""
    with act(Event.GRANT_CREATED, actor=actor, host=name) as facts:
        if to := person or group:
            facts["to"] = str(to)
        row = grant_row(
            person=person,
            group=group,
            host=host,
            tag=tag,
            all_hosts=all_hosts,
            logins=logins,
            capabilities=capabilities,
            valid_from=valid_from,
            valid_until=valid_until,
            networks=networks,
            limits=limits,
        )
        grant = Grant.objects.create(**row, created_by=actor.person)
        record(Event.GRANT_CREATED, actor=actor, host=name, grant=describe(grant))
    return grant


def revoke_grant(*, grant: Grant, actor: Actor) -> None:
    """End the grant now. Terminal sessions that nothing else allows end within seconds. Conflict when it has ended."""
    host = grant.host.name if grant.host else ""
    with act(Event.GRANT_REVOKED, actor=actor, host=host, grant={"id": grant.pk}):
        now = clock.now()
        if not Grant.objects.filter(pk=grant.pk, revoked_at=None).update(revoked_at=now):
            raise Conflict(f"grant {grant.pk} is revoked already")
        grant.revoked_at = now
        record(Event.GRANT_REVOKED, actor=actor, host=host, grant=describe(grant))


def describe(grant: Grant) -> dict[str, Any]:
    """The grant as REST, commands and audit show it."""
    return {
        "id": grant.pk,
        "person": grant.person.username if grant.person else None,
        "group": grant.group.name if grant.group else None,
        "host": grant.host.name if grant.host else None,
        "tag": f"{grant.tag_key}={grant.tag_value}" if grant.tag_key else None,
        "all_hosts": grant.all_hosts,
        "logins": grant.logins,
        "capabilities": grant.capabilities,
        "valid_from": grant.valid_from.isoformat() if grant.valid_from else None,
        "valid_until": grant.valid_until.isoformat() if grant.valid_until else None,
        "networks": grant.networks,
        **describe_limits(grant.limits),
    }


def describe_limits(limits: GrantLimits) -> dict[str, int | None]:
    """Seconds by the names that REST, commands and audit have for them."""
    return {"grace": limits.grace_s, "idle": limits.idle_s, "longest": limits.longest_s}


def limits_of(grant: Grant | None) -> GrantLimits:
    """What the grant sets; nothing where there is none (any more)."""
    return grant.limits if grant else NO_LIMITS


def parse_tag(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. Invalid on anything else."""
    key, _, value = text.partition("=")
    if not is_tag(key, value):
        raise Invalid(f"{text[:80]!r} is not a tag such as site=berlin")
    return key, value


def grant_row(
    *,
    person: Person | None,
    group: Group | None,
    host: Host | None,
    tag: tuple[str, str] | None,
    all_hosts: bool,
    logins: Iterable[str],
    capabilities: Iterable[str],
    valid_from: datetime | None,
    valid_until: datetime | None,
    networks: Iterable[str],
    limits: GrantLimits,
) -> dict[str, Any]:
    """The fields of a grant that may be made, in their one form. Invalid or Conflict says why not. Stores nothing."""
    _check_to(person, group)
    _check_on(host, tag, all_hosts)
    _check_window(valid_from, valid_until)
    key, value = tag or ("", "")
    return {
        "person": person,
        "group": group,
        "host": host,
        "tag_key": key,
        "tag_value": value,
        "all_hosts": all_hosts,
        "logins": _logins(logins),
        "capabilities": _capabilities(capabilities),
        "valid_from": valid_from,
        "valid_until": valid_until,
        "networks": _networks(networks),
        "grace_s": _limit("grace", limits.grace_s),
        "idle_s": _limit("idle", limits.idle_s),
        "longest_s": _limit("longest", limits.longest_s),
    }


def _check_to(person: Person | None, group: Group | None) -> None:
    if (person is None) == (group is None):
        raise Invalid("a grant is for one person or for one group: name exactly one")


def _check_on(host: Host | None, tag: tuple[str, str] | None, all_hosts: bool) -> None:
    if (host is not None) + (tag is not None) + all_hosts != 1:
        raise Invalid("a grant is on one host, on a tag or on all hosts: name exactly one")
    if tag is not None and not is_tag(*tag):
        raise Invalid(f"{tag[0][:64]!r}={tag[1][:64]!r} is not a tag such as site=berlin")
    if host is not None and not Host.objects.approved().filter(pk=host.pk).exists():
        raise Conflict(f"host {host.name} is not approved; approve it first")


def _check_window(valid_from: datetime | None, valid_until: datetime | None) -> None:
    check_moment(valid_from)
    check_moment(valid_until)
    if valid_until is None:
        return
    if valid_until <= clock.now():
        raise Invalid("the grant would be over already; set valid_until to a time to come")
    if valid_from is not None and valid_from >= valid_until:
        raise Invalid("the grant would end before it begins; set valid_from before valid_until")


def _logins(logins: Iterable[str]) -> list[str]:
    chosen = sorted(set(logins))
    if not 0 < len(chosen) <= MAX_LOGINS:
        raise Invalid(f"a grant names between one login and {MAX_LOGINS}, such as root")
    for login in chosen:
        if not is_login(login):
            raise Invalid(f"{login[:64]!r} is not a login such as root")
    return chosen


def _capabilities(capabilities: Iterable[str]) -> list[str]:
    chosen = set(capabilities)
    if not chosen or (unknown := sorted(chosen - set(Capability))):
        given = f"{unknown[0][:64]!r} is no capability" if chosen else "a grant gives at least one capability"
        raise Invalid(f"{given}; there are {', '.join(Capability)}")
    return [item.value for item in Capability if item in chosen]


def _networks(networks: Iterable[str]) -> list[str]:
    chosen = list(networks)
    if len(chosen) > MAX_NETWORKS:
        raise Invalid(f"a grant takes at most {MAX_NETWORKS} networks")
    return list(dict.fromkeys(_network(text) for text in chosen))


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip()))
    except ValueError as error:
        raise Invalid(f"{text[:64]!r} is not a network such as 10.0.0.0/8 or 192.168.1.7/32") from error


def _limit(name: str, seconds: int | None) -> int | None:
    if seconds is not None and seconds not in LIMIT_S:
        raise Invalid(f"{name}: a limit of a grant is between 10 s and 30 d; leave it out for the broker's setting")
    return seconds
