"""Which live terminals may go on, and within which limits: the rule that opened them, asked again on today's facts.

One round asks the database a few questions for each person and host, not for each terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from uuid import UUID

from terminals import access
from terminals.access import Capability
from terminals.api_tokens import Scope, fits, refuse
from terminals.end import End
from terminals.limits import GrantLimits
from terminals.models import ApiToken, Person, PersonKey, Session, WebLogin
from terminals.protocol import Close
from terminals.reachable import grants_of, host_facts, person_facts
from terminals.second_factor import required_of
from tunnels import clock
from tunnels.models import Host


@dataclass(frozen=True, slots=True)
class Watched:
    """What a live terminal was opened with."""

    session: UUID
    web_login: str | None = None
    """The portal login that opened it (`login_store.web_login`); None where an API token or an SSH key did."""
    capability: Capability = Capability.TERMINAL
    second_factor: bool = False
    """Whether it was opened with one."""
    api_token: int | None = None
    """Primary key of the API token that opened it, where one did."""
    ssh_key: int | None = None
    """Primary key of the SSH key that opened it, where one did."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand with live terminals. Each that has a row is in one of the two."""

    ends: dict[UUID, End] = field(default_factory=dict)
    """Those that must end now, each with the reason."""
    limits: dict[UUID, GrantLimits] = field(default_factory=dict)
    """What the grant that allows each of the others sets: another one than at its opening, where that is gone."""


def judge(watched: Iterable[Watched]) -> Standing:
    """Ask again for each of `watched`. Uses the database: not for an event loop."""
    items = {item.session: item for item in watched}
    web_logins = live_web_logins(item.web_login for item in items.values())
    api_tokens = live_api_tokens(item.api_token for item in items.values())
    ssh_keys = _live_ssh_keys(item.ssh_key for item in items.values())
    decide, needs_factor = decider(), cache(required_of)
    standing = Standing()
    # Plain values: with hundreds of terminals, the time that it takes to make objects of rows is felt at every key.
    rows = Session.objects.filter(pk__in=items).values_list("pk", "person", "host", "login", "address", "ended_at")
    for pk, person, host, login, address, ended_at in rows:
        item = items[pk]
        if ended_at is not None:
            standing.ends[pk] = _ended(pk)
            continue
        decision = decide(person, host, login or None, item.capability, address)
        if not decision.allowed:
            standing.ends[pk] = End(f"access was withdrawn: {decision.reason}", Close.NOT_ALLOWED)
        elif item.web_login and item.web_login not in web_logins:
            standing.ends[pk] = End("the portal login that opened this terminal has ended", Close.NOT_ALLOWED)
        elif item.api_token and item.api_token not in api_tokens:
            standing.ends[pk] = End("the API token that opened this terminal is not valid any more", Close.NOT_ALLOWED)
        elif item.ssh_key and item.ssh_key not in ssh_keys:
            standing.ends[pk] = End("the SSH key that opened this was removed", Close.NOT_ALLOWED)
        elif not item.second_factor and needs_factor(person, host):
            standing.ends[pk] = End("a second factor is required here now; open it again with one", Close.NOT_ALLOWED)
        else:
            standing.limits[pk] = decision.limits
    return standing


def withheld(ended: Iterable[UUID]) -> list[UUID]:
    """Of terminals that have ended, those whose person may not see them any more. As `judge`, not for an event loop."""
    decide = decider()
    rows = Session.objects.filter(pk__in=list(ended)).values_list("pk", "person", "host", "login", "address")
    return [row[0] for row in rows if not decide(row[1], row[2], row[3], Capability.TERMINAL, row[4]).allowed]


def decider() -> Callable[[int, UUID, str | None, Capability, str], access.Decision]:
    """`access.decide` on the facts of now, for terminals that are told apart by these alone: once for each kind."""
    now = clock.now()
    person_of: Callable[[int], Person] = cache(lambda pk: Person.objects.get(pk=pk))
    facts_of, grants, host_of = cache(person_facts), cache(grants_of), cache(_current_host)

    @cache
    def decide(person: int, host: UUID, login: str | None, capability: Capability, address: str) -> access.Decision:
        return access.decide(
            person=facts_of(person_of(person)),
            host=host_of(host),
            login=login,
            capability=capability,
            address=access.client_address(address),
            now=now,
            grants=grants(person_of(person)),
        )

    return decide


def _ended(pk: UUID) -> End:
    row = Session.objects.select_related("person").get(pk=pk)
    by_owner = row.ended_by == row.person.username
    return End(row.reason, Close.ENDED if by_owner else Close.ENDED_BY_ADMIN)


def _current_host(host_id: UUID) -> access.HostFacts:
    return host_facts(Host.objects.prefetch_related("tags").get(pk=host_id))


def live_web_logins(logins: Iterable[str | None]) -> frozenset[str]:
    """Those of `logins` that have not ended."""
    found = WebLogin.objects.filter(login__in=set(filter(None, logins)), expire_date__gt=clock.now())
    return frozenset(found.values_list("login", flat=True))


def _live_ssh_keys(keys: Iterable[int | None]) -> frozenset[int]:
    return frozenset(PersonKey.objects.filter(pk__in=set(filter(None, keys))).values_list("pk", flat=True))


def live_api_tokens(tokens: Iterable[int | None]) -> frozenset[int]:
    """Those of `tokens` that would still be taken for terminal sessions."""
    now, rows = clock.now(), ApiToken.objects.filter(pk__in=set(filter(None, tokens))).select_related("person")
    return frozenset(row.pk for row in rows if refuse(row, now) is None and fits(row.scopes, Scope.SESSIONS))
