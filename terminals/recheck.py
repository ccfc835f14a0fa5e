"""Which live terminals may not go on: the rule that opened them, asked again on the facts as they are now.

One round asks the database a few questions for each person and host, not for each terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.contrib.sessions.models import Session as WebLogin
from django.utils import timezone

from terminals import access
from terminals.access import Capability
from terminals.end import End
from terminals.models import Session
from terminals.protocol import Close
from terminals.reachable import grants_of, host_facts, person_facts
from tunnels.models import Host


@dataclass(frozen=True, slots=True)
class Watched:
    """What a live terminal was opened with."""

    session: UUID
    web_login: str | None
    """Key of the portal login that opened it; None where an API token did."""


def failing(watched: Iterable[Watched]) -> dict[UUID, End]:
    """The terminals that must end now, each with the reason."""
    items = {item.session: item for item in watched}
    rows = Session.objects.filter(pk__in=items).select_related("person", "host")
    web_logins = _live_web_logins(items.values())
    person_of, grants, host_of = cache(person_facts), cache(grants_of), cache(_current_host)
    ends: dict[UUID, End] = {}
    for row in rows:
        if row.ended_at is not None:
            ends[row.pk] = _ended(row)
            continue
        decision = access.decide(
            person=person_of(row.person),
            host=host_of(row.host_id),
            login=row.login,
            capability=Capability.TERMINAL,
            address=access.client_address(row.address),
            now=timezone.now(),
            grants=grants(row.person),
        )
        web_login = items[row.pk].web_login
        if not decision.allowed:
            ends[row.pk] = End(f"access was withdrawn: {decision.reason}", Close.NOT_ALLOWED)
        elif web_login and web_login not in web_logins:
            ends[row.pk] = End("the portal login that opened this terminal has ended", Close.NOT_ALLOWED)
    return ends


def _ended(row: Session) -> End:
    by_owner = row.ended_by == row.person.username
    return End(row.reason, Close.ENDED if by_owner else Close.ENDED_BY_ADMIN)


def _current_host(host_id: UUID) -> access.HostFacts:
    return host_facts(Host.objects.prefetch_related("tags").get(pk=host_id))


def _live_web_logins(items: Iterable[Watched]) -> frozenset[str]:
    keys = {item.web_login for item in items if item.web_login}
    found = WebLogin.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return frozenset(found.values_list("session_key", flat=True))
