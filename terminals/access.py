"""The one place where access is decided: a pure function from facts to a decision with its reason. Default deny.

No ORM, clock or request here. `terminals.reachable` gathers the facts and holds the matching query; a test compares
the two on one table. Where several grants apply, capabilities add up only within one grant: no mixing. Where several
allow the same, the first in the order given (the oldest) decides, and its limits are those that hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from terminals.limits import GrantLimits


class Capability(StrEnum):
    TERMINAL = "terminal"
    EXEC = "exec"
    SFTP = "sftp"
    FORWARD = "forward"
    SHARE = "share"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class PersonFacts:
    name: str
    groups: frozenset[str]
    active: bool


@dataclass(frozen=True, slots=True)
class HostFacts:
    id: str
    """Identity of the row: a name that was let go and taken anew carries no grants over."""
    name: str
    state: str
    tags: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFacts:
    """One standing grant: to one `person` or `group`, on one `host` (an id), `tag` or `all_hosts`."""

    id: int
    person: str | None
    group: str | None
    host: str | None
    tag: tuple[str, str] | None
    all_hosts: bool
    logins: frozenset[str]
    capabilities: frozenset[str]
    valid_from: datetime | None
    valid_until: datetime | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    limits: GrantLimits = GrantLimits()


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str
    """For the person who asked and for the audit."""
    grant: int | None = None
    limits: GrantLimits = GrantLimits()
    """Of the grant that allows it."""


def client_address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Where a person sits, as grants compare it: IPv4 in IPv6 clothes (`::ffff:...`) is IPv4. None when unknown."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def decide(
    *,
    person: PersonFacts,
    host: HostFacts,
    login: str | None,
    capability: Capability,
    address: IPv4Address | IPv6Address | None,
    now: datetime,
    grants: Iterable[GrantFacts],
) -> Decision:
    """May `person`, sitting at `address` (None: unknown), have `capability` on `host` as `login` at `now`?

    Without a login it is a way to the host alone (`forward`): who logs in there, and how, the broker cannot see.

    The reason of a refusal is that of the grant that came closest, so that it tells what is missing.
    """
    if login is None and capability is not Capability.FORWARD:
        raise ValueError(f"{capability} is given for a login")
    if not person.active:
        return Decision(False, f"{person.name} is disabled")
    if host.state != "approved":
        return Decision(False, f"host {host.name} is {host.state}")
    closest = (0, no_grant(person.name, host.name))
    for grant in grants:
        step, missing = _judge(grant, person, host, login, capability, address, now)
        if not missing:
            return Decision(True, f"grant {grant.id} allows it", grant.id, grant.limits)
        closest = max(closest, (step, missing), key=lambda pair: pair[0])
    return Decision(False, closest[1])


def no_grant(person: str, host: str) -> str:
    """Why somebody whom no grant lets near a host is refused."""
    return f"no grant gives {person} access to {host}"


def applies(
    grant: GrantFacts, *, person: PersonFacts, address: IPv4Address | IPv6Address | None, now: datetime
) -> bool:
    """Does the grant hold for this person, from here, now, on whichever hosts it names?"""
    return person.active and is_for(grant, person) and is_current(grant, now) and is_from(grant, address)


def covers(grant: GrantFacts, host: HostFacts) -> bool:
    return grant.all_hosts or grant.host == host.id or grant.tag in host.tags


def is_for(grant: GrantFacts, person: PersonFacts) -> bool:
    return grant.person == person.name or grant.group in person.groups


def is_current(grant: GrantFacts, now: datetime) -> bool:
    """The window is half open: valid at `valid_from`, no longer at `valid_until`."""
    started = grant.valid_from is None or now >= grant.valid_from
    return started and (grant.valid_until is None or now < grant.valid_until)


def is_from(grant: GrantFacts, address: IPv4Address | IPv6Address | None) -> bool:
    return not grant.networks or (address is not None and any(address in network for network in grant.networks))


def _judge(
    grant: GrantFacts,
    person: PersonFacts,
    host: HostFacts,
    login: str | None,
    capability: Capability,
    address: IPv4Address | IPv6Address | None,
    now: datetime,
) -> tuple[int, str]:
    """How many of the conditions this grant meets before the first that it misses, and what that one lacks."""
    conditions = (
        (is_for(grant, person) and covers(grant, host), no_grant(person.name, host.name)),
        (login is None or login in grant.logins, f"grant {grant.id} does not cover login {login}"),
        (capability in grant.capabilities, f"grant {grant.id} does not give {capability}"),
        (is_current(grant, now), f"grant {grant.id} is not valid at this time"),
        (is_from(grant, address), f"grant {grant.id} does not hold from {address or 'an unknown address'}"),
    )
    for step, (met, missing) in enumerate(conditions):
        if not met:
            return step, missing
    return len(conditions), ""
