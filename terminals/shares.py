"""Shares of live terminal sessions: made and revoked by their owner, found by their secret or their person."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from terminals.access import Capability
from terminals.durations import duration_text
from terminals.models import Person, Session, Share
from terminals.moments import check_moment
from terminals.people import find_person
from terminals.reachable import decide_access
from tunnels import clock
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, Invalid, NotAllowed, NotFound

SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=7)
MAX_LIVE = 50
"""Of one session."""


def create_share(
    *,
    session: Session,
    role: Share.Role,
    person: str | None = None,
    admits_guests: bool = False,
    expires_at: datetime,
    owner: Person,
    actor: Actor,
) -> tuple[Share, str]:
    """The share and the secret of its link. `person`: an invitation of who has this name; None: who has the link asks.

    Which names there are only who may share is told.
    """
    facts = {**_facts(session), "role": str(role), "to": person or "", "guests": admits_guests}
    with act(Event.SHARE_CREATED, actor=actor, **facts):
        _check_right(session, owner)
        invited = find_person(person) if person is not None else None
        _check_people(invited, admits_guests, owner)
        _check_terms(session, expires_at)
        secret = secrets.token_urlsafe(32)
        share = Share.objects.create(
            session=session,
            person=invited,
            role=role,
            admits_guests=admits_guests,
            digest=_digest(secret),
            expires_at=expires_at,
        )
        record(
            Event.SHARE_CREATED,
            actor=actor,
            **facts,
            share=str(share.pk),
            expires_at=expires_at.isoformat(),
        )
    return share, secret


def revoke_share(*, share: Share, actor: Actor) -> None:
    """From now on nobody comes in by it, and who did must go. Conflict when it was revoked before."""
    facts = {**_facts(share.session), "share": str(share.pk)}
    with act(Event.SHARE_REVOKED, actor=actor, **facts):
        if not Share.objects.filter(pk=share.pk, revoked_at=None).update(revoked_at=clock.now()):
            raise Conflict("this share is revoked already")
        record(Event.SHARE_REVOKED, actor=actor, **facts, role=share.role)


def live_shares() -> QuerySet[Share]:
    """Those that let somebody in now, where their owner still may share."""
    rows = Share.objects.select_related("session__person", "session__host", "person")
    return rows.filter(revoked_at=None, expires_at__gt=clock.now(), session__ended_at=None)


def find_share(secret: str) -> Share:
    """By the secret of its link. NotFound, in the same words, when it is unknown, expired, revoked or over."""
    share = live_shares().filter(digest=_digest(secret)).first()
    if share is None or not owner_may_share(share.session):
        raise NotFound("this link is not valid (any more); ask for a new one")
    return share


def invitations(person: Person) -> QuerySet[Share]:
    """To live sessions, the ones that let them type first."""
    return live_shares().filter(person=person).order_by("role", "created_at")


def invitation(person: Person, session: Session) -> Share | None:
    share = invitations(person).filter(session=session).first()
    return share if share is not None and owner_may_share(session) else None


def is_invitation(share_id: UUID) -> bool:
    """Whether it stands and is one person's alone."""
    return live_shares().filter(pk=share_id, person__isnull=False).exists()


def invited_to(person: Person) -> Q:
    """The live sessions that the person was invited to, for a query of sessions."""
    return Q(pk__in=invitations(person).order_by().values("session"))


def owner_may_share(session: Session) -> bool:
    return decide_access(
        person=session.person,
        host=session.host,
        login=session.login,
        capability=Capability.SHARE,
        address=session.address,
    ).allowed


def _check_right(session: Session, owner: Person) -> None:
    if session.person_id != owner.pk:
        raise NotAllowed("only its owner may share a terminal session")
    if not session.has_terminal:
        raise Conflict("there is nothing to share of this session: it has no terminal")
    decision = decide_access(
        person=owner, host=session.host, login=session.login, capability=Capability.SHARE, address=session.address
    )
    if not decision.allowed:
        raise NotAllowed(decision.reason)
    if Session.objects.filter(pk=session.pk, ended_at=None).first() is None:
        raise Conflict("this terminal has ended")


def _check_terms(session: Session, expires_at: datetime) -> None:
    check_moment(expires_at)
    now = clock.now()
    if not SHORTEST <= expires_at - now + timedelta(seconds=1) <= LONGEST + timedelta(seconds=2):
        first, last = (duration_text(int(span.total_seconds())) for span in (SHORTEST, LONGEST))
        raise Invalid(f"a share lives for {first} to {last}")
    if live_shares().filter(session=session).count() >= MAX_LIVE:
        raise Conflict(f"at most {MAX_LIVE} shares of one terminal; revoke one")


def _check_people(person: Person | None, admits_guests: bool, owner: Person) -> None:
    if person is None:
        return
    if admits_guests:
        raise Invalid("an invitation is for one person; guests come by a link")
    if person == owner:
        raise Invalid("it is your own terminal already")
    if not person.is_active:
        raise Conflict(f"{person.username} is disabled")


def _facts(session: Session) -> dict[str, Any]:
    return {"host": session.host.name, "login": session.login, "session": str(session.pk)}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
