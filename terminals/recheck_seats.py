"""Who of those in other people's terminals, or asking to be, may stay: the rules that let them in, asked again.

A few questions to the database for all of them, not for each. `terminals.recheck` judges the terminals themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

from terminals.access import Capability, Decision
from terminals.models import Person, Session, Share
from terminals.recheck import decider, live_api_tokens, live_web_logins
from terminals.seats import Basis, Seat, Via
from terminals.second_factor import required_of
from tunnels import clock
from tunnels.models import Host

Decide = Callable[[int, UUID, str | None, Capability, str], Decision]


@dataclass(frozen=True, slots=True)
class Sitting:
    """A seat that is taken or asked for; `key` is the caller's own name for it."""

    key: str
    session: UUID
    seat: Seat


@dataclass(frozen=True, slots=True)
class _Place:
    """Plain facts of a session."""

    owner: int
    owner_name: str
    host: UUID
    login: str
    address: str


def judge_seats(sittings: Iterable[Sitting]) -> dict[str, str]:
    """Why each of those that may not stay must go. Uses the database: not for an event loop."""
    asked = list(sittings)
    rest = [sitting.seat.basis for sitting in asked]
    logins, tokens = live_web_logins(it.web_login for it in rest), live_api_tokens(it.api_token for it in rest)
    active = frozenset(
        Person.objects.filter(pk__in={it.person for it in rest}, is_active=True).values_list("pk", flat=True)
    )
    shares = {row[0]: row[1:] for row in _shares(it.share for it in rest)}
    places = _places(sitting.session for sitting in asked)
    decide, needs_factor, needs_anybody = decider(), cache(required_of), cache(host_requires_factor)

    def judge(sitting: Sitting) -> str | None:
        seat, basis = sitting.seat, sitting.seat.basis
        if (place := places.get(sitting.session)) is None:
            return "this terminal has ended"
        if basis.person is not None and basis.person not in active:
            return f"{seat.name} is disabled"
        if basis.web_login and basis.web_login not in logins:
            return "the portal login of this window has ended"
        if basis.api_token and basis.api_token not in tokens:
            return "the API token of this window is not valid any more"
        if seat.is_owner:
            return None  # the rest is the terminal's own right to be
        required = needs_factor(basis.person, place.host) if basis.person else needs_anybody(place.host)
        if required and not basis.second_factor:
            return "a second factor is required here now; come back with one"
        if seat.via is Via.OBSERVE:
            return _as_observer(decide, place, basis)
        return _by_share(decide, place, shares.get(basis.share) if basis.share else None)

    return {sitting.key: reason for sitting in asked if (reason := judge(sitting)) is not None}


def _as_observer(decide: Decide, place: _Place, basis: Basis) -> str | None:
    assert basis.person is not None
    decision = decide(basis.person, place.host, place.login, Capability.OBSERVE, basis.address)
    return None if decision.allowed else f"access was withdrawn: {decision.reason}"


def _by_share(decide: Decide, place: _Place, share: tuple[datetime, datetime | None] | None) -> str | None:
    if share is None or share[1] is not None:
        return f"{place.owner_name} revoked the share"
    if share[0] <= clock.now():
        return "the share has expired"
    decision = decide(place.owner, place.host, place.login, Capability.SHARE, place.address)
    return None if decision.allowed else f"{place.owner_name} may not share this terminal any more: {decision.reason}"


def _shares(keys: Iterable[UUID | None]) -> Iterable[tuple[UUID, datetime, datetime | None]]:
    return Share.objects.filter(pk__in=set(filter(None, keys))).values_list("pk", "expires_at", "revoked_at")


def _places(sessions: Iterable[UUID]) -> dict[UUID, _Place]:
    rows = Session.objects.filter(pk__in=set(sessions))
    values = rows.values_list("pk", "person", "person__username", "host", "login", "address")
    return {row[0]: _Place(*row[1:]) for row in values}


def host_requires_factor(host: UUID) -> bool:
    """Of everybody: guests cannot give one."""
    return Host.objects.filter(pk=host, second_factor_rule__isnull=False).exists()
