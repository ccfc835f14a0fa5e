"""The acts on terminal sessions: opened and ended once each, in the row and in the audit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from terminals.access import Capability, Decision
from terminals.company import News
from terminals.models import Person, Recording, Session
from terminals.presence import presence
from terminals.reachable import decide_access, default_login, find_host, find_host_at, rights_on
from terminals.recording import acts as recordings
from terminals.recording import store
from terminals.recording.digest import Sealed
from terminals.recording.policy import Policy
from terminals.recording.sweep import seal_leftover
from terminals.seats import Seat
from terminals.second_factor import Proof, require_second_factor
from tunnels import audit, metrics
from tunnels.acts import act
from tunnels.audit import Actor, Event
from tunnels.errors import Conflict, Invalid, NotAllowed, Unavailable
from tunnels.models import Host
from tunnels.spool import fact
from tunnels.text import printable

MAX_COMMAND = 1000
"""Characters of a command in the audit."""
_COMPANY = {
    News.JOINED: Event.SESSION_JOINED,
    News.LEFT: Event.SESSION_LEFT,
    News.ROLE_CHANGED: Event.SESSION_ROLE_CHANGED,
}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names by which a host is meant that has the tunnel port asked for, as `ssh -NR` by hand would have it."""


def open_session(
    *,
    person: Person,
    host_name: str,
    login: str | None,
    node: str,
    address: str,
    proof: Proof,
    is_online: Callable[[UUID], bool],
    stated_reason: str = "",
    way: Session.Way = Session.Way.BROWSER,
    capability: Capability = Capability.TERMINAL,
    command: str = "",
    has_terminal: bool = True,
) -> Session:
    """Decide and write down a new session; its node then starts the terminal, or the `command`.

    Without a login it is the host's default, or the first one that the person has. Raises NotFound (unknown or out of
    reach, alike), NotAllowed with the reason, Conflict when the host is offline, Unavailable when it must be recorded
    and cannot be.
    """
    actor = Actor(person.username, address)
    with act(Event.SESSION_REFUSED, actor=actor, host=host_name, login=login or "") as facts:
        host = find_host(person, host_name, address=address)
        login = facts["login"] = _login(person, host, capability, address) if login is None else login
        decision = _admit(person, host, login, capability, address, proof, is_online)
        if has_terminal and settings.BROKERD.recording is Policy.REQUIRED and (problem := store.problem()):
            raise Unavailable(f"terminals are recorded here, and nothing can be now: {problem}; tell an admin", 30)
        session = Session.objects.create(
            person=person,
            host=host,
            login=login,
            way=way,
            has_terminal=has_terminal,
            node=node,
            address=address,
            grant_id=decision.grant,
            stated_reason=printable(stated_reason, 200),
        )
        audit.record(
            Event.SESSION_OPENED,
            actor=actor,
            host=host.name,
            login=login,
            session=str(session.id),
            grant=decision.grant,
            way=str(session.way),
            capability=str(capability),
            stated_reason=stated_reason,
            command=printable(command, MAX_COMMAND),
        )
        if has_terminal and settings.BROKERD.recording is not Policy.OFF:
            recordings.begin(session)
    return session


def open_forward(
    *,
    person: Person,
    name: str,
    port: int,
    node: str,
    address: str,
    proof: Proof,
    is_online: Callable[[UUID], bool],
) -> Session:
    """Decide on a way to a host's SSH server, end to end, and write it down. What passes there, the broker cannot see.

    `name` and `port` are the host's name with port 22 or its tunnel port, or loopback with its tunnel port. Raises
    NotFound, NotAllowed or Conflict as `open_session`, Invalid for any other place.
    """
    actor = Actor(person.username, address)
    with act(Event.FORWARD_REFUSED, actor=actor, host=f"{printable(name, 63)}:{port}"):
        host = _destination(person, name, port, address)
        decision = _admit(person, host, None, Capability.FORWARD, address, proof, is_online)
        session = Session.objects.create(
            person=person,
            host=host,
            login="",
            way=Session.Way.END_TO_END,
            has_terminal=False,
            node=node,
            address=address,
            grant_id=decision.grant,
        )
        audit.record(
            Event.FORWARD_OPENED,
            actor=actor,
            host=host.name,
            session=str(session.id),
            grant=decision.grant,
            recorded=False,
            note="end to end, not recorded",
        )
    return session


def _login(person: Person, host: Host, capability: Capability, address: str) -> str:
    rights = rights_on(person, [host], address=address)[host.pk]
    if (login := default_login(host, rights, capability)) is None:
        raise NotAllowed(f"no grant gives {person.username} {capability} on {host.name}")
    return login


def _destination(person: Person, name: str, port: int, address: str) -> Host:
    if name in LOOPBACK:
        return find_host_at(person, port, address=address)
    host = find_host(person, name, address=address)
    if port not in (22, host.tunnel_port):
        raise Invalid(f"only the SSH server of {host.name} can be reached: port 22, or {host.tunnel_port}")
    return host


def _admit(
    person: Person,
    host: Host,
    login: str | None,
    capability: Capability,
    address: str,
    proof: Proof,
    is_online: Callable[[UUID], bool],
) -> Decision:
    decision = decide_access(person=person, host=host, login=login, capability=capability, address=address)
    if not decision.allowed:
        raise NotAllowed(decision.reason)
    require_second_factor(person, host, proof)
    if not is_online(host.pk):
        raise Conflict(f"{host.name} is offline: {presence(host).offline_reason or 'its tunnel is just coming up'}")
    return decision


@fact
@transaction.atomic
def end_session(
    *,
    session_id: UUID,
    reason: str,
    actor: Actor | None = None,
    bytes_in: int = 0,
    bytes_out: int = 0,
    recording: Sealed | None = None,
) -> bool:
    """Close the row, with the reason; `actor` where a person did it. False when it has ended already.

    A node that holds the live terminal sees the closed row and lets go of it, whichever process ended it. There is one
    event of the end, and it has the hash of the recording (`recording`): so where a person ends what is recorded, the
    row alone is closed, and whoever seals the recording (the node, or the sweep at its next start) writes the event.
    """
    session = Session.objects.select_related("person", "host").get(pk=session_id)
    if is_first := session.ended_at is None:
        session.ended_at = audit.moment()
        session.reason = printable(reason, 200)
        session.ended_by, session.ended_from = (actor.person, actor.address) if actor else ("", "")
    if is_first or bytes_in or bytes_out:
        session.bytes_in, session.bytes_out = bytes_in, bytes_out
    session.save(update_fields=["ended_at", "reason", "ended_by", "ended_from", "bytes_in", "bytes_out"])
    unsealed = recordings.unsealed(session)
    if unsealed is not None and actor is not None:
        transaction.on_commit(audit.announce, robust=True)
    elif unsealed is not None:
        sealed = recording or Sealed(problem="it was not recorded", has_failed=True)
        recordings.seal(unsealed, sealed)
        owner = Actor(session.person.username, session.address)
        _record_end(session, owner if is_first else Actor(session.ended_by, session.ended_from), sealed)
    elif is_first:
        _record_end(session, actor or Actor(session.person.username, session.address))
    return is_first


def _record_end(session: Session, actor: Actor, recording: Sealed | None = None) -> None:
    detail: dict[str, Any] = {"recording": recording.facts} if recording else {}
    transaction.on_commit(partial(_count_bytes, session), robust=True)
    audit.record(
        Event.FORWARD_CLOSED if session.way == Session.Way.END_TO_END else Event.SESSION_ENDED,
        actor=actor,
        host=session.host.name,
        login=session.login,
        session=str(session.id),
        reason=session.reason,
        owner=session.person.username,
        bytes_in=session.bytes_in,
        bytes_out=session.bytes_out,
        **detail,
    )


def _count_bytes(session: Session) -> None:
    metrics.session_bytes.labels(session.way, "in").inc(session.bytes_in)
    metrics.session_bytes.labels(session.way, "out").inc(session.bytes_out)


def newest_change() -> tuple[int, int]:
    """Another value after each act, also one that ended a session whose event is still to be written."""
    waiting = Recording.objects.filter(state=Recording.State.RECORDING, session__ended_at__isnull=False)
    return audit.newest_sequence(), waiting.count()


@fact
@transaction.atomic
def note_refusal(*, event: Event, actor: Actor, reason: str) -> None:
    """Something was refused before there was anything to decide."""
    audit.record(event, actor=actor, refused=True, reason=reason)


@fact
@transaction.atomic
def note_company(*, session_id: UUID, news: News, seat: Seat, role: str, reason: str = "") -> None:
    """Somebody joined or left a live terminal, or the keyboard came to them or went."""
    session = Session.objects.select_related("person", "host").get(pk=session_id)
    _record_company(_COMPANY[news], session, seat, role=role, reason=reason)


@transaction.atomic
def note_turned_away(*, session: Session, seat: Seat, reason: str) -> None:
    """Somebody asked to join, and the owner refused."""
    _record_company(Event.SESSION_REFUSED, session, seat, refused=True, reason=reason)


def _record_company(event: Event, session: Session, seat: Seat, **more: Any) -> None:
    audit.record(
        event,
        actor=Actor("" if seat.is_guest else seat.name, seat.basis.address),
        host=session.host.name,
        login=session.login,
        session=str(session.id),
        owner=session.person.username,
        via=str(seat.via),
        guest=seat.name if seat.is_guest else "",
        **more,
    )


@fact
@transaction.atomic
def note_transfers(*, session_id: UUID, files: list[dict[str, Any]]) -> None:
    """Files that passed through an SFTP session, as `terminals.ssh.sftp.File.facts` has them."""
    session = Session.objects.select_related("person", "host").get(pk=session_id)
    for facts in files:
        audit.record(
            Event.FILE_TRANSFERRED,
            actor=Actor(session.person.username, session.address),
            host=session.host.name,
            login=session.login,
            session=str(session.id),
            **facts,
        )


@fact
@transaction.atomic
def note_key_mismatch(*, session_id: UUID) -> None:
    """A host showed another key than the pinned ones."""
    session = Session.objects.select_related("person", "host").get(pk=session_id)
    audit.record(
        Event.HOST_KEY_MISMATCH,
        actor=Actor(session.person.username, session.address),
        refused=True,
        host=session.host.name,
        login=session.login,
        session=str(session.id),
    )


def end_leftovers(*, node: str) -> None:
    """At start: sessions of another run of the broker are over. There is one node on an embedded database."""
    left = Q(ended_at=None) | Q(recording__state=Recording.State.RECORDING)
    for session in Session.objects.filter(left).exclude(node=node):
        end_session(
            session_id=session.id,
            reason="broker lost",
            bytes_in=session.bytes_in,
            bytes_out=session.bytes_out,
            recording=seal_leftover(session) if recordings.unsealed(session) else None,
        )
