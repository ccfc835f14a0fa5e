"""The hosts that a person may reach, and one of them in detail."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from terminals import access
from terminals.access import Capability
from terminals.models import Grant, Person
from terminals.pages import commands, live, ways
from terminals.pages.frame import refusal_shown, surroundings
from terminals.pages.guards import PersonRequest, people
from terminals.pages.invited import shared_with_you
from terminals.pages.open_terminals import open_terminals, terminal_url
from terminals.presence import Presence, presence
from terminals.reachable import (
    Right,
    default_login,
    find_host,
    grant_facts,
    host_facts,
    person_facts,
    reachable_hosts,
    rights_on,
)
from terminals.second_factor import required_of
from tunnels import clock
from tunnels.keys import parse_public_key
from tunnels.models import Host, HostTag

MAX_CHIPS = 16
PLACEHOLDER = "TOKEN"


@dataclass(frozen=True, slots=True)
class Door:
    """One login of a host, with the address that opens a terminal there, or none when nothing would open."""

    login: str
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    host: Host
    presence: Presence
    tags: list[HostTag]
    doors: list[Door]
    """The login that opens by default first."""
    rights: list[tuple[str, str]]
    """Logins that may do the same, and what."""

    @property
    def url(self) -> str:
        """Where the row leads: into the terminal if one can open."""
        return self.doors[0].url if self.doors and self.doors[0].url else reverse("host", args=[self.host.name])

    @property
    def words(self) -> str:
        """What the search box finds it by."""
        return "\n".join([self.host.name, *map(str, self.tags), *(door.login for door in self.doors)]).lower()


@people
@require_safe
def hosts(request: PersonRequest) -> HttpResponse:
    rows = _rows(request)
    if rows:
        shown = live.items(request, "hosts/row.html", [(str(row.host.pk), {"row": row}) for row in rows])
    else:
        shown = live.items(request, "hosts/empty.html", [("empty", _first_steps(request))])
    chips = [term for term, _ in Counter(str(tag) for row in rows for tag in row.tags).most_common(MAX_CHIPS)]
    context = {"section": "hosts", "any_hosts": bool(rows)}
    lists = {
        "open_terminals": open_terminals(request),
        "shared_terminals": shared_with_you(request),
        "hosts": shown if rows else [],
        "chips": live.items(request, "hosts/chip.html", [(term, {"term": term}) for term in sorted(chips)]),
        "nothing": [] if rows else shown,
    }
    return live.answer(request, "hosts/list.html", "hosts/region.html", lists, context)


@people
@require_safe
def host(request: PersonRequest, name: str) -> HttpResponse:
    address = request.META["REMOTE_ADDR"]
    with refusal_shown(request):
        found = find_host(request.user, name, address=address)
    rights = rights_on(request.user, [found], address=address)[found.pk]
    row = _row(found, rights)
    lists = {
        "state": live.items(request, "hosts/state.html", [("state", {"row": row})]),
        "open_terminals": open_terminals(request, found),
    }
    context = {
        "section": "hosts",
        "host": found,
        "row": row,
        "grants": _grants_on(request.user, found, address),
        "host_keys": [parse_public_key(line) for line in found.host_keys],
        "ways": ways.to_host(request.user, found, rights),
        "has_key": request.user.keys.exists(),
        "steps": commands.for_host(found),
        "needs_factor": required_of(request.user.pk, found.pk),
    }
    return live.answer(request, "hosts/detail.html", "hosts/detail_region.html", lists, context)


def _rows(request: PersonRequest) -> list[Row]:
    address = request.META["REMOTE_ADDR"]
    found = list(reachable_hosts(request.user, address=address).with_presence().order_by("name"))
    rights = rights_on(request.user, found, address=address)
    return [_row(host, rights[host.pk]) for host in found]


def _row(host: Host, rights: Sequence[Right]) -> Row:
    now = presence(host)
    first = default_login(host, rights)
    ordered = sorted(rights, key=lambda right: (right.login != first, right.login))
    doors = [Door(right.login, terminal_url(host, right.login) if _opens(right, now) else "") for right in ordered]
    return Row(host, now, list(host.tags.all()), doors, _grouped(ordered))


def _opens(right: Right, now: Presence) -> bool:
    return now.online and Capability.TERMINAL in right.capabilities


def _grouped(rights: Iterable[Right]) -> list[tuple[str, str]]:
    logins: defaultdict[tuple[Capability, ...], list[str]] = defaultdict(list)
    for right in rights:
        logins[right.capabilities].append(right.login)
    return [(", ".join(names), ", ".join(capabilities)) for capabilities, names in logins.items()]


def _grants_on(person: Person, host: Host, address: str) -> list[Grant]:
    """The grants by which the person may reach the host from here, now."""
    who, where, now = person_facts(person), access.client_address(address), clock.now()
    what = host_facts(host)
    grants = Grant.objects.of(person).select_related("person", "group").order_by("id")
    facts = [(grant, grant_facts(grant)) for grant in grants]
    return [
        grant
        for grant, fact in facts
        if access.covers(fact, what) and access.applies(fact, person=who, address=where, now=now)
    ]


def _first_steps(request: PersonRequest) -> dict[str, Any]:
    """For a portal without hosts: how machines get in, or whom to ask."""
    is_open = settings.BROKERD.open_enrollment
    token = "" if is_open else PLACEHOLDER
    return {
        **surroundings(request),
        "pairing": commands.pairing() if is_open else "",
        "agent": commands.agent(token=token),
        "install": commands.install(token=token),
        "steps": commands.stock_ssh(token=token),
        "open_enrollment": is_open,
        "any_approved": Host.objects.approved().exists(),
        "admins": list(Person.objects.filter(is_superuser=True, is_active=True).order_by("username")[:5]),
    }
