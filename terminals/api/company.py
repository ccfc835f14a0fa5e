"""REST for who is in a terminal: seen by those who may know of it, moved by its owner."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from pydantic import ConfigDict

from terminals import live
from terminals.api.auth import anybody, caller_of, callers, visitor_of
from terminals.api.guessing import check_guessing
from terminals.api.sessions import find_session, seat_for
from terminals.api.shares import end_share, owned_session
from terminals.api_tokens import Scope
from terminals.protocol import Role
from terminals.reception import Reception
from terminals.seats import Via, Way
from terminals.sessions import note_turned_away
from terminals.shares import is_invitation
from tunnels.errors import Invalid
from tunnels.text import is_printable

MAX_LINE = 200
router = Router(tags=["sharing"], auth=callers(Scope.SESSIONS))


class ViewerOut(Schema):
    id: str
    name: str
    role: Role
    may_drive: bool
    wants: bool = Field(description="asks for the keyboard")
    is_owner: bool
    is_guest: bool
    via: Via
    way: Way
    since: str


class AskingOut(Schema):
    id: str
    name: str
    is_guest: bool
    role: Role
    since: str


class CompanyOut(Schema):
    items: list[ViewerOut]
    asking: list[AskingOut] = Field(description="of the owner's to answer; empty for everybody else")


class AnswerIn(Schema):
    model_config = ConfigDict(extra="forbid")

    admit: bool


class LineIn(Schema):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MAX_LINE)
    admission: str | None = Field(None, max_length=100)


def _reception() -> Reception:
    return live.current().reception


@router.get("/{session_id}/viewers", response=CompanyOut, summary="Who is here, and who asks to be")
def list_viewers(request: HttpRequest, session_id: UUID) -> Any:
    caller = caller_of(request)
    session = find_session(caller, session_id)
    terminal = live.find(session.pk)
    if terminal is None:
        return {"items": [], "asking": []}
    is_owner = session.person_id == caller.person.pk
    return live.current().call(
        lambda: {
            "items": [{**viewer.facts(), "since": viewer.since.isoformat()} for viewer in terminal.viewers],
            "asking": [asdict(asking) for asking in terminal.company.asking] if is_owner else [],
        }
    )


@router.post("/{session_id}/asks/{ask_id}", response={204: None}, summary="Let somebody in, or not")
def answer(request: HttpRequest, session_id: UUID, ask_id: str, body: AnswerIn) -> Status:
    """The owner. An admission is for this session only."""
    session = owned_session(caller_of(request), session_id)
    ask = live.current().call(lambda: _reception().decide(session.pk, ask_id, admit=body.admit))
    if not body.admit:
        note_turned_away(session=session, seat=ask.seat, reason=f"{session.person.username} did not let them in")
    return Status(204, None)


@router.post("/{session_id}/viewers/{viewer_id}/drive", response={204: None}, summary="Hand the keyboard over")
def hand_over(request: HttpRequest, session_id: UUID, viewer_id: str) -> Status:
    """The owner, to anybody who may drive, or back to themselves."""
    session = owned_session(caller_of(request), session_id)
    live.current().call(lambda: _reception().hand_over(session.pk, viewer_id))
    return Status(204, None)


@router.post("/{session_id}/drive", response={204: None}, summary="Take the keyboard back")
def take_back(request: HttpRequest, session_id: UUID) -> Status:
    """The owner. Without a window of theirs it waits for them."""
    session = owned_session(caller_of(request), session_id)
    live.current().call(lambda: _reception().hand_over(session.pk, None))
    return Status(204, None)


@router.delete("/{session_id}/viewers/{viewer_id}", response={204: None}, summary="Send somebody away")
def remove(request: HttpRequest, session_id: UUID, viewer_id: str) -> Status:
    """The owner. Their admission ends as well, and the invitation where they came by one."""
    caller = caller_of(request)
    session = owned_session(caller, session_id)
    seat = live.current().call(lambda: _reception().remove(session.pk, viewer_id))
    if seat.basis.share is not None and is_invitation(seat.basis.share):
        end_share(session, seat.basis.share, caller)
    return Status(204, None)


@router.post("/{session_id}/say", auth=anybody(Scope.SESSIONS), response={204: None}, summary="Say a line to them")
def say(request: HttpRequest, session_id: UUID, body: LineIn) -> Status:
    """Who may attach to it: its owner, observers, and who was let in. It is shown to everybody there and recorded."""
    visitor = visitor_of(request)
    check_guessing(visitor.address)
    if not is_printable(body.text):
        raise Invalid("text: one line, without control characters")
    _, seat = seat_for(visitor, session_id, body.admission, wants_to_drive=False)
    live.current().call(lambda: _reception().say(session_id, seat.label, body.text))
    return Status(204, None)
