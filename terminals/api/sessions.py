"""REST for terminal sessions: open one, attach to it again, look at it, end it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from ninja.errors import AuthenticationError
from pydantic import ConfigDict

from terminals import live
from terminals.access import Capability
from terminals.api.auth import Caller, Stranger, anybody, caller_of, callers, visitor_of
from terminals.api.guessing import check_guessing
from terminals.api.pages import Paging, page
from terminals.api_tokens import Scope
from terminals.models import Session
from terminals.protocol import MAX_SIZE, Role
from terminals.reachable import decide_access
from terminals.seating import check_may_drive, find_seat, observable
from terminals.seats import Seat
from terminals.second_factor import require_second_factor
from terminals.sessions import end_session, open_session
from terminals.shares import invited_to
from terminals.traffic import traffic
from tunnels.errors import Conflict, NotAllowed, NotFound

router = Router(tags=["sessions"], auth=callers(Scope.SESSIONS))


class SessionIn(Schema):
    model_config = ConfigDict(extra="forbid")

    host: str = Field(max_length=63)
    login: str = Field(max_length=64)
    cols: int = Field(80, ge=1, le=MAX_SIZE)
    rows: int = Field(24, ge=1, le=MAX_SIZE)
    reason: str = Field("", max_length=200, description="why you open it, for the audit")


class TicketIn(Schema):
    model_config = ConfigDict(extra="forbid")

    role: Role = Role.DRIVER
    admission: str | None = Field(None, max_length=100, description="what was answered to who asked by a link")


class TicketOut(Schema):
    ticket: str = Field(description="one use, within 30 s")
    socket: str = Field(description="absolute ws(s) URL; subprotocol brokerd.terminal.v1")


class OpenedOut(TicketOut):
    id: UUID


class RecordingOut(Schema):
    state: str = Field(description="recording, sealed, failed or pruned")
    sha256: str = Field(description="of the asciicast; empty while it is recorded")


class SessionOut(Schema):
    id: UUID
    person: str
    host: str
    login: str
    way: str
    has_terminal: bool = Field(description="whether a browser can attach to it")
    state: str = Field(description="live or ended")
    started: datetime
    ended: datetime | None
    reason: str = Field(description="why it ended")
    viewers: int
    bytes_in: int
    bytes_out: int
    recording: RecordingOut | None = Field(description="null: it was not recorded")


class SessionPage(Schema):
    items: list[SessionOut]
    next: str | None


@router.post("", response={201: OpenedOut}, summary="Open a terminal session")
def open_(request: HttpRequest, body: SessionIn) -> Status:
    caller = caller_of(request)
    terminals = live.current()
    terminals.check_room(caller.person.username)
    session = open_session(
        person=caller.person,
        host_name=body.host,
        login=body.login,
        node=terminals.node,
        address=caller.address,
        proof=caller.proof,
        is_online=terminals.is_online,
        stated_reason=body.reason,
    )
    ticket = terminals.start(session, cols=body.cols, rows=body.rows, basis=caller.basis)
    return Status(201, {"id": session.id, **_attachable(request, session, ticket)})


@router.get("", response=SessionPage, summary="List terminal sessions, newest first")
def list_sessions(request: HttpRequest, paging: Query[Paging], live: bool | None = None, mine: bool = False) -> Any:
    """Your own, and live ones that you may watch, by a capability `observe` or an invitation; all of them for admins
    and auditors. `mine`: your own alone."""
    caller = caller_of(request)
    rows = _visible(caller)
    if live is not None:
        rows = rows.filter(ended_at__isnull=live)
    if mine:
        rows = rows.filter(person=caller.person)
    return page(rows, paging, by=["-started_at", "id"], show=_shown)


@router.get("/{session_id}", response=SessionOut, summary="One terminal session")
def read_session(request: HttpRequest, session_id: UUID) -> Any:
    return _shown([find_session(caller_of(request), session_id)])[0]


@router.delete("/{session_id}", response={204: None}, summary="End a terminal session")
def end(request: HttpRequest, session_id: UUID) -> Status:
    """Its owner or an admin. The terminal closes at once."""
    caller = caller_of(request)
    session = find_session(caller, session_id)
    is_owner = session.person_id == caller.person.pk
    if not is_owner and not caller.is_admin:
        raise NotAllowed("only its owner or an admin may end a terminal session")
    reason = "ended by its owner" if is_owner else f"ended by {caller.person.username}"
    if not end_session(session_id=session.id, reason=reason, actor=caller.actor):
        raise Conflict("this terminal has ended already")
    return Status(204, None)


@router.post(
    "/{session_id}/tickets",
    auth=anybody(Scope.SESSIONS),
    response=TicketOut,
    summary="A ticket to attach to a live terminal",
)
def make_ticket(request: HttpRequest, session_id: UUID, body: TicketIn) -> Any:
    """Its owner: after a reload, in another window, from another browser. Who was invited, or was let in by a link
    (with the `admission`; a guest has no login beside it). Who may `observe` there, to watch."""
    visitor = visitor_of(request)
    if body.admission is not None:
        check_guessing(visitor.address)
    session, seat = seat_for(visitor, session_id, body.admission, wants_to_drive=body.role is Role.DRIVER)
    ticket = live.current().mint(session=session.id, seat=seat, role=body.role)
    return _attachable(request, session, ticket)


def seat_for(
    visitor: Caller | Stranger, session_id: UUID, admission: str | None, *, wants_to_drive: bool
) -> tuple[Session, Seat]:
    """The place of who may attach to a terminal, by their `admission` or by a right of their own. Refused otherwise."""
    if admission is not None:
        session, seat = _admitted(visitor, session_id, admission)
        check_may_drive(seat, wants_to_drive)
    elif isinstance(visitor, Caller):
        session = find_session(visitor, session_id)
        seat = find_seat(visitor.person, session, wants_to_drive=wants_to_drive, basis=visitor.basis)
        _check_attachable(visitor, session)
    else:
        raise AuthenticationError
    if isinstance(visitor, Caller):
        require_second_factor(visitor.person, session.host, visitor.proof)
    return session, seat


def _admitted(visitor: Caller | Stranger, session_id: UUID, admission: str) -> tuple[Session, Seat]:
    terminals = live.current()
    seat = terminals.call(lambda: terminals.reception.seat_of(admission, session_id))
    if seat.basis.person != visitor.basis.person:
        raise NotFound("this admission is somebody else's; open the link again")
    return Session.objects.select_related("host").get(pk=session_id), seat


def _check_attachable(caller: Caller, session: Session) -> None:
    if not session.has_terminal:
        raise Conflict("there is nothing to see of this session: it has no terminal")
    is_over = session.ended_at is not None
    if is_over and (session.person_id != caller.person.pk or not _may_look_back(caller, session)):
        raise Conflict(f"this terminal has ended: {session.reason}")


def _may_look_back(caller: Caller, session: Session) -> bool:
    """Whether the last output of an ended terminal is still there, and the grant as well: nobody re-checks these."""
    if live.current().find(session.id) is None:
        return False
    decision = decide_access(
        person=caller.person,
        host=session.host,
        login=session.login,
        capability=Capability.TERMINAL,
        address=caller.address,
    )
    return decision.allowed


def _visible(caller: Caller) -> QuerySet[Session]:
    rows = Session.objects.select_related("person", "host", "recording")
    if caller.is_admin or caller.person.is_auditor:
        return rows
    return rows.filter(Q(person=caller.person) | observable(caller.person, caller.address) | invited_to(caller.person))


def find_session(caller: Caller, session_id: UUID) -> Session:
    """One that the caller may know of. NotFound otherwise."""
    session = _visible(caller).filter(pk=session_id).first()
    if session is None:
        raise NotFound("there is no such terminal session that you may see")
    return session


def _attachable(request: HttpRequest, session: Session, ticket: str) -> dict[str, str]:
    scheme = "wss" if request.is_secure() else "ws"
    return {"ticket": ticket, "socket": f"{scheme}://{request.get_host()}/ws/sessions/{session.id}"}


def _shown(rows: Sequence[Session]) -> list[dict[str, Any]]:
    return [_as_dict(row) for row in rows]


def _as_dict(row: Session) -> dict[str, Any]:
    terminal, recording = live.find(row.id), getattr(row, "recording", None)
    bytes_in, bytes_out = traffic(row)
    return {
        "id": row.id,
        "person": row.person.username,
        "host": row.host.name,
        "login": row.login,
        "way": row.way,
        "has_terminal": row.has_terminal,
        "state": "live" if row.ended_at is None else "ended",
        "started": row.started_at,
        "ended": row.ended_at,
        "reason": row.reason,
        "viewers": len(terminal.viewers) if terminal else 0,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "recording": {"state": recording.state, "sha256": recording.sha256} if recording else None,
    }
