"""Enrollment tokens: secrets that let machines enroll, and may approve them at once. Shown once, stored hashed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import F

from tunnels import clock
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, Invalid, NotAllowed
from tunnels.models import EnrollmentToken
from tunnels.requests import checked_name
from tunnels.rules import TokenFacts, is_tag, refuse_token
from tunnels.text import is_printable, printable

PREFIX = "bet_"
"""Makes a leaked secret recognisable: broker enrollment token."""
SECRET_BYTES = 24
MAX_USES = 10_000
MAX_LIFE_S = 365 * 24 * 3600
MAX_TAGS = 20
REFUSAL = "the enrollment token is not valid; ask whoever looks after this broker for a new one"


def create_enrollment_token(
    *,
    name: str,
    host_name: str = "",
    uses: int = 1,
    expires_in_s: int = 1800,
    auto_approve: bool = False,
    tags: Mapping[str, str] | None = None,
    actor: Actor,
) -> tuple[EnrollmentToken, str]:
    """A new token and its secret, which is kept nowhere. `host_name` fixes the only name that it may enroll."""
    with act(Event.TOKEN_CREATED, actor=actor, token=name):
        check_label(name)
        _check_limits(uses, expires_in_s)
        if host_name:
            checked_name(host_name)
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = EnrollmentToken.objects.create(
            name=name,
            digest=_digest(secret),
            host_name=host_name,
            uses=uses,
            expires_at=clock.now() + timedelta(seconds=expires_in_s),
            auto_approve=auto_approve,
            tags=checked_tags(tags or {}),
            created_by=actor.person,
        )
        _record(Event.TOKEN_CREATED, token, actor, uses=uses, auto_approve=auto_approve, tags=token.tags)
        return token, secret


def redeem(*, secret: str, name: str, actor: Actor) -> EnrollmentToken:
    """Use the token once to enroll `name`. NotAllowed tells nothing about why; the audit does.

    Belongs inside the enrollment's own act: when the enrollment is refused after all, the use is given back.
    """
    with act(Event.TOKEN_REFUSED, actor=actor, host=name) as facts:
        token = EnrollmentToken.objects.filter(digest=_digest(secret)).first()
        if token:
            facts |= {"token": token.name, "token_id": token.pk}
        if why := refuse_token(_facts(token), name=name, now=clock.now()):
            raise NotAllowed(REFUSAL, cause=why)
        assert token
        _count_use(token)
        _record(Event.TOKEN_USED, token, actor, uses_left=token.uses - token.used)
        return token


def would_approve(*, secret: str, name: str) -> bool:
    """Would `redeem` succeed, and the token approve at once?"""
    token = EnrollmentToken.objects.filter(digest=_digest(secret), auto_approve=True).first()
    return refuse_token(_facts(token), name=name, now=clock.now()) is None


def revoke_enrollment_token(*, token: EnrollmentToken, actor: Actor) -> EnrollmentToken:
    """It opens nothing any more; hosts that it enrolled stay."""
    with act(Event.TOKEN_REVOKED, actor=actor, token=token.name, token_id=token.pk):
        revoked = EnrollmentToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now())
        if not revoked:
            raise Conflict(f"token {token.name} was revoked already")
        token.refresh_from_db()
        _record(Event.TOKEN_REVOKED, token, actor)
        return token


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise Invalid(f"at most {MAX_TAGS} tags")
    for key, value in tags.items():
        if not is_tag(key, value):
            shown = printable(f"{key}={value}", 80)
            raise Invalid(f"{shown!r} is not a tag: write key=value, the key of a-z, 0-9, dot, dash and underscore")
    return dict(tags)


def check_label(name: str) -> None:
    if not 1 <= len(name) <= 64 or not is_printable(name) or name != name.strip():
        raise Invalid("a token needs a name of 1 to 64 printable characters, so that people know what it is for")


def _check_limits(uses: int, expires_in_s: int) -> None:
    if not 1 <= uses <= MAX_USES:
        raise Invalid(f"a token is for 1 to {MAX_USES} uses")
    if not 1 <= expires_in_s <= MAX_LIFE_S:
        raise Invalid("a token lives at least a second and at most 365 days")


def _count_use(token: EnrollmentToken) -> None:
    """Conditional, so that of two at once one wins on any database, whatever the isolation."""
    counted = EnrollmentToken.objects.filter(pk=token.pk, used__lt=F("uses"), revoked_at=None).update(
        used=F("used") + 1
    )
    if not counted:
        raise NotAllowed(REFUSAL, cause="token used up")
    token.refresh_from_db()


def _facts(token: EnrollmentToken | None) -> TokenFacts | None:
    if token is None:
        return None
    return TokenFacts(
        host_name=token.host_name,
        uses_left=token.uses - token.used,
        expires_at=token.expires_at,
        revoked=token.revoked_at is not None,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(event: Event, token: EnrollmentToken, actor: Actor, **detail: Any) -> None:
    record(event, actor=actor, host=token.host_name, token=token.name, token_id=token.pk, **detail)
