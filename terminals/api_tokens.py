"""Personal API tokens: made, revoked, and recognised. The secret is shown once; only its SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.core.cache import cache
from django.db import transaction

from terminals.models import ApiToken, Person
from terminals.moments import check_moment
from tunnels import clock
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, Invalid
from tunnels.text import is_printable

PREFIX = "bat_"
"""Broker API token: lets secret scanners and people tell what they have found."""
SECRET_BYTES = 32
NOTED_EVERY = timedelta(minutes=1)
"""How often a use is written down; a script that polls must not make the database write each time."""


class Scope(StrEnum):
    """What a token may be limited to. It never adds to what its owner may do."""

    HOSTS = "hosts"
    SESSIONS = "sessions"
    GRANTS = "grants"
    AUDIT = "audit"
    WEBHOOKS = "webhooks"


MEANING = {
    Scope.HOSTS: "list hosts; approve, reject and revoke them",
    Scope.SESSIONS: "open, list and end terminal sessions",
    Scope.GRANTS: "list, make, revoke and explain grants",
    Scope.AUDIT: "read and export the audit log",
    Scope.WEBHOOKS: "list, add and remove webhooks",
}


def create_api_token(
    *, person: Person, name: str, scopes: Iterable[str] = (), expires_at: datetime | None = None, actor: Actor
) -> tuple[ApiToken, str]:
    """The token's row and its secret. Without scopes it may do what its owner may, except make tokens or change the
    account; without `expires_at` it lives until revoked."""
    with act(Event.TOKEN_CREATED, actor=actor, kind="api", name=name, owner=person.username):
        _check(person, name, expires_at)
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = ApiToken.objects.create(
            person=person, name=name, digest=_digest(secret), scopes=_scopes(scopes), expires_at=expires_at
        )
        record(Event.TOKEN_CREATED, actor=actor, **_facts(token), expires_at=expires_at and expires_at.isoformat())
    return token, secret


def revoke_api_token(*, token: ApiToken, actor: Actor) -> None:
    """From now on the token opens nothing. Conflict when it was revoked before."""
    with act(Event.TOKEN_REVOKED, actor=actor, **_facts(token)):
        now = clock.now()
        if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
            raise Conflict(f"token {token.name} is revoked already")
        token.revoked_at = now
        record(Event.TOKEN_REVOKED, actor=actor, **_facts(token))


def authenticate(secret: str, now: datetime, *, address: str = "") -> ApiToken | None:
    """The token behind `secret`, its person fetched along; None when it opens nothing (any more).

    A token that we know but refuse is audited, once a minute at most.
    """
    token = ApiToken.objects.select_related("person").filter(digest=_digest(secret)).first()
    if token is None:
        return None
    if reason := refuse(token, now):
        _note_refusal(token, reason, address)
        return None
    if token.last_used_at is None or now - token.last_used_at >= NOTED_EVERY:
        token.last_used_at = now
        token.save(update_fields=["last_used_at"])
    return token


def fits(scopes: Iterable[str], scope: Scope) -> bool:
    """Whether a token with these scopes is made for `scope`. One without any is made for everything."""
    chosen = frozenset(scopes)
    return not chosen or scope in chosen


def refuse(token: ApiToken, now: datetime) -> str | None:
    """Why the token opens nothing, for the audit; None when it does."""
    if token.revoked_at is not None:
        return "token revoked"
    if token.expires_at is not None and now >= token.expires_at:
        return "token expired"
    return None if token.person.is_active else f"{token.person.username} is disabled"


def _check(person: Person, name: str, expires_at: datetime | None) -> None:
    if not 0 < len(name) <= 64 or not is_printable(name):
        raise Invalid("a token needs a name of 1 to 64 characters, such as the script that will use it")
    check_moment(expires_at)
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid("the token would have expired already; set a time to come")
    if not person.is_active:
        raise Conflict(f"{person.username} is disabled; enable the account first")


def _scopes(scopes: Iterable[str]) -> list[str]:
    chosen = set(scopes)
    if unknown := sorted(chosen - set(Scope)):
        raise Invalid(f"{unknown[0][:64]!r} is no scope; there are {', '.join(Scope)}")
    return [item.value for item in Scope if item in chosen]


def _facts(token: ApiToken) -> dict[str, Any]:
    return {"kind": "api", "name": token.name, "owner": token.person.username, "scopes": token.scopes}


def _note_refusal(token: ApiToken, reason: str, address: str) -> None:
    if cache.add(f"api-token-refused-{token.pk}", True, NOTED_EVERY.total_seconds()):
        with transaction.atomic():
            actor = Actor(person=token.person.username, address=address)
            record(Event.TOKEN_REFUSED, actor=actor, refused=True, **_facts(token), reason=reason)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
