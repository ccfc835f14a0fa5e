"""REST for shares: their owner makes and revokes them, and whoever has a link asks to come in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import ConfigDict

from terminals import live
from terminals.api.auth import Caller, Stranger, anybody, caller_of, callers, visitor_of
from terminals.api.guessing import check_asking, check_guessing
from terminals.api.sessions import find_session
from terminals.api_tokens import Scope
from terminals.durations import parse_duration
from terminals.lobby import Ask, State
from terminals.models import Person, Session, Share
from terminals.protocol import Role
from terminals.recheck_seats import host_requires_factor
from terminals.seating import guest_name, shared_seat
from terminals.second_factor import OF_GUEST, require_second_factor
from terminals.shares import create_share, find_share, revoke_share
from tunnels import clock
from tunnels.errors import Invalid, NotAllowed, NotFound

of_sessions = Router(tags=["sharing"], auth=callers(Scope.SESSIONS))
router = Router(tags=["sharing"], auth=anybody(Scope.SESSIONS))


class ShareIn(Schema):
    model_config = ConfigDict(extra="forbid")

    role: Role = Role.WATCHER
    person: str | None = Field(None, max_length=32, description="of them alone; else whoever has the link")
    expires: str = Field("1h", max_length=40, description="a duration such as 30m, or a time with zone")
    guests: bool = Field(False, description="whether people without an account may ask as well; they only watch")


class ShareOut(Schema):
    id: UUID
    role: Role
    person: str | None
    guests: bool
    created: datetime
    expires: datetime
    revoked: datetime | None


class NewShareOut(ShareOut):
    url: str = Field(description="shown once; the secret stands behind the #, which browsers keep to themselves")


class ShareList(Schema):
    items: list[ShareOut]


class AskIn(Schema):
    model_config = ConfigDict(extra="forbid")

    secret: str = Field(max_length=100, description="what stands behind the # of the link")
    name: str = Field("", max_length=64, description="of a guest: what the owner should call them")


class KeyIn(Schema):
    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=100)


class AskOut(Schema):
    ask: str
    state: State
    admission: str | None = Field(None, description="once admitted: for `POST /sessions/ID/tickets`")
    session: UUID
    owner: str
    host: str
    login: str
    role: Role
    name: str = Field(alias="as", serialization_alias="as", description="what those who are there see")


class AskedOut(AskOut):
    key: str = Field(description="to come back with for the answer; keep it to yourself")


@of_sessions.post("/{session_id}/shares", response={201: NewShareOut}, summary="Share a live terminal")
def create(request: HttpRequest, session_id: UUID, body: ShareIn) -> Status:
    """Its owner, who needs `share` there."""
    caller = caller_of(request)
    session = find_session(caller, session_id)
    share, secret = create_share(
        session=session,
        role=Share.Role(body.role),
        person=body.person,
        admits_guests=body.guests,
        expires_at=_moment(body.expires),
        owner=caller.person,
        actor=caller.actor,
    )
    return Status(201, {**_shown(share), "url": f"{settings.BROKERD.portal_url}/join/#{secret}"})


@of_sessions.get("/{session_id}/shares", response=ShareList, summary="The shares of a terminal, oldest first")
def list_shares(request: HttpRequest, session_id: UUID) -> Any:
    session = owned_session(caller_of(request), session_id)
    return {"items": [_shown(share) for share in session.shares.select_related("person")]}


@of_sessions.delete("/{session_id}/shares/{share_id}", response={204: None}, summary="Revoke a share")
def revoke(request: HttpRequest, session_id: UUID, share_id: UUID) -> Status:
    """Who came by it goes at once."""
    caller = caller_of(request)
    session = owned_session(caller, session_id)
    end_share(session, share_id, caller)
    return Status(204, None)


@router.post("/ask", response=AskedOut, by_alias=True, summary="Ask to come in by a link")
def ask(request: HttpRequest, body: AskIn) -> Any:
    """With a login you are yourself; without one, a guest, where the link is for those too."""
    visitor = visitor_of(request)
    check_asking(visitor.address)
    share = find_share(body.secret)
    person = _person_for(share, visitor)
    seat = shared_seat(share, person, visitor.basis, guest="" if person else guest_name(body.name))
    session = share.session
    terminals = live.current()
    made, key = terminals.call(
        lambda: terminals.reception.ask(
            session=session.pk, seat=seat, since=clock.now(), is_invited=share.person_id is not None
        )
    )
    return {**_answer(made, session, key), "key": key}


@router.post("/asks/{ask_id}", response=AskOut, by_alias=True, summary="Hear the answer")
def hear(request: HttpRequest, ask_id: str, body: KeyIn) -> Any:
    """Ask once a second: who is silent for a minute and a half has gone."""
    check_guessing(visitor_of(request).address)
    terminals = live.current()
    found = terminals.call(lambda: terminals.reception.lobby.hear(ask_id, body.key))
    if found is None:
        raise NotFound("nobody asks by this id any more; open the link again")
    session = Session.objects.select_related("host", "person").get(pk=found.session)
    return _answer(found, session, body.key)


def owned_session(caller: Caller, session_id: UUID) -> Session:
    """NotFound where the caller may not know of it, NotAllowed where it is not theirs."""
    session = find_session(caller, session_id)
    if session.person_id != caller.person.pk:
        raise NotAllowed("only its owner may do this with a terminal session")
    return session


def end_share(session: Session, share_id: UUID, caller: Caller) -> None:
    """Revoke it, and send away who came by it."""
    share = session.shares.select_related("session__host").filter(pk=share_id).first()
    if share is None:
        raise NotFound("this terminal has no such share")
    revoke_share(share=share, actor=caller.actor)
    terminals = live.current()
    terminals.call(lambda: terminals.reception.end_share(session.pk, share_id))


def _person_for(share: Share, visitor: Caller | Stranger) -> Person | None:
    """Who comes by the link: the person who is logged in, or None for a guest where guests may come."""
    if isinstance(visitor, Stranger):
        if not share.admits_guests or host_requires_factor(share.session.host_id):
            raise HttpError(401, "log in to join this terminal")
        require_second_factor(None, share.session.host, OF_GUEST)
        return None
    if visitor.person.pk == share.session.person_id:
        raise Invalid("this is your own terminal")
    if share.person_id not in (None, visitor.person.pk):
        raise NotFound("this link is not valid (any more); ask for a new one")
    require_second_factor(visitor.person, share.session.host, visitor.proof)
    return visitor.person


def _answer(made: Ask, session: Session, key: str) -> dict[str, Any]:
    lobby = live.current().reception.lobby
    return {
        "ask": made.id,
        "state": made.state,
        "admission": lobby.secret(key) if made.state is State.ADMITTED else None,
        "session": made.session,
        "owner": session.person.username,
        "host": session.host.name,
        "login": session.login,
        "role": made.role,
        "as": made.seat.label,
    }


def _moment(text: str) -> datetime:
    try:
        seconds = parse_duration(text)
        return clock.now() + timedelta(seconds=seconds) if seconds is not None else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Invalid("expires: a duration such as 30m, or a time such as 2026-01-31T18:00:00+01:00") from None


def _shown(share: Share) -> dict[str, Any]:
    return {
        "id": share.pk,
        "role": share.role,
        "person": share.person.username if share.person else None,
        "guests": share.admits_guests,
        "created": share.created_at,
        "expires": share.expires_at,
        "revoked": share.revoked_at,
    }
