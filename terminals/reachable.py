"""Which hosts a person may reach: the facts that `access` judges, read from rows, and the one query with authority.

Pages, REST, the websocket door and the gateway get a host from here and in no other way. Time, person and network are
judged by `access.applies` over the person's few grants, so that the query repeats only which hosts a grant names; a
test holds the two against each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from ipaddress import ip_network
from operator import or_
from uuid import UUID

from django.db.models import Q

from terminals import access
from terminals.access import Capability, Decision, GrantFacts, HostFacts, PersonFacts
from terminals.models import Grant, Person
from tunnels import clock
from tunnels.errors import NotFound
from tunnels.models import Host, HostQuerySet, HostTag
from tunnels.text import printable


@dataclass(frozen=True, slots=True)
class Right:
    """What one may do on a host under one login; each pair of login and capability is given by a single grant."""

    login: str
    capabilities: tuple[Capability, ...]


def person_facts(person: Person) -> PersonFacts:
    """As the rows are now, not as the object remembers them: a live session may have held it for hours."""
    rows = list(Person.objects.filter(pk=person.pk).values_list("is_active", "groups__name"))  # one for each group
    groups = frozenset(name for _, name in rows if name is not None)
    return PersonFacts(person.username, groups, any(active for active, _ in rows))


def host_facts(host: Host) -> HostFacts:
    return HostFacts(str(host.pk), host.name, host.state, frozenset(host.tag_map.items()))


def grant_facts(grant: Grant) -> GrantFacts:
    return GrantFacts(
        id=grant.pk,
        person=grant.person.username if grant.person else None,
        group=grant.group.name if grant.group else None,
        host=str(grant.host_id) if grant.host_id else None,
        tag=(grant.tag_key, grant.tag_value) if grant.tag_key else None,
        all_hosts=grant.all_hosts,
        logins=frozenset(grant.logins),
        capabilities=frozenset(grant.capabilities),
        valid_from=grant.valid_from,
        valid_until=grant.valid_until,
        networks=tuple(ip_network(text) for text in grant.networks),
        limits=grant.limits,
    )


def grants_of(person: Person) -> list[GrantFacts]:
    """The standing grants of the person and their groups, oldest first."""
    return [grant_facts(grant) for grant in Grant.objects.of(person).select_related("person", "group").order_by("id")]


def reachable_hosts(person: Person, *, address: str | None, now: datetime | None = None) -> HostQuerySet:
    """The approved hosts on which a grant of the person holds from `address` (None: unknown) at `now`."""
    return hosts_named_by(_applicable(person, address, now))


def hosts_named_by(grants: list[GrantFacts]) -> HostQuerySet:
    """The approved hosts that any of `grants` is on."""
    return Host.objects.approved().filter(_named_by(grants))


def find_host(person: Person, name: str, *, address: str | None, now: datetime | None = None) -> Host:
    """The host called `name`, with its presence. NotFound, in the same words, when unknown or not for this person."""
    host = reachable_hosts(person, address=address, now=now).with_presence().filter(name=name).first()
    if host is None:
        raise unknown_host(name)
    return host


def find_host_at(person: Person, tunnel_port: int, *, address: str | None) -> Host:
    """The host with this tunnel port, as `find_host`."""
    host = reachable_hosts(person, address=address).with_presence().filter(tunnel_port=tunnel_port).first()
    if host is None:
        raise NotFound(f"there is no host at tunnel port {tunnel_port} that you may reach; ask an admin for a grant")
    return host


def unknown_host(name: str) -> NotFound:
    """What everybody is told of a host that is not there or not theirs to see."""
    return NotFound(f"there is no host {printable(name, 63)} that you may reach; ask an admin for a grant")


def rights_on(
    person: Person, hosts: Iterable[Host], *, address: str | None, now: datetime | None = None
) -> dict[UUID, tuple[Right, ...]]:
    """For each of `hosts`, what the person may do there under which logins; nothing on a host out of their reach."""
    grants = _applicable(person, address, now)
    return {host.pk: _rights(grants, host_facts(host)) for host in hosts}


def default_login(host: Host, rights: Iterable[Right], capability: Capability = Capability.TERMINAL) -> str | None:
    """The host's own default if the person has `capability` as it, else the first login with which they have it."""
    logins = [right.login for right in rights if capability in right.capabilities]
    return host.login if host.login in logins else next(iter(logins), None)


def decide_access(
    *,
    person: Person,
    host: Host,
    login: str | None,
    capability: Capability,
    address: str | None,
    now: datetime | None = None,
) -> Decision:
    """`access.decide` on the rows as they are now: `person` and `host` only say which ones."""
    return access.decide(
        person=person_facts(person),
        host=host_facts(Host.objects.get(pk=host.pk)),
        login=login,
        capability=capability,
        address=access.client_address(address),
        now=now or clock.now(),
        grants=grants_of(person),
    )


def _applicable(person: Person, address: str | None, now: datetime | None) -> list[GrantFacts]:
    facts, place, moment = person_facts(person), access.client_address(address), now or clock.now()
    return [grant for grant in grants_of(person) if access.applies(grant, person=facts, address=place, now=moment)]


def _named_by(grants: list[GrantFacts]) -> Q:
    """`access.covers`, for the database."""
    if any(grant.all_hosts for grant in grants):
        return Q()
    nothing = Q(pk__in=())
    tags = reduce(or_, (Q(key=grant.tag[0], value=grant.tag[1]) for grant in grants if grant.tag), nothing)
    ids = [UUID(grant.host) for grant in grants if grant.host]
    return Q(pk__in=ids) | Q(pk__in=HostTag.objects.filter(tags).values("host"))


def _rights(grants: list[GrantFacts], host: HostFacts) -> tuple[Right, ...]:
    given: defaultdict[str, set[str]] = defaultdict(set)
    for grant in grants:
        if host.state == "approved" and access.covers(grant, host):
            for login in grant.logins:
                given[login] |= grant.capabilities
    return tuple(Right(login, tuple(item for item in Capability if item in given[login])) for login in sorted(given))
