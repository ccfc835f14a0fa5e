"""The acts on terminal sessions: opened and ended once each, in the row and in the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from terminals.access import Capability, Decision
from terminals.models import Person, Session
from terminals.presence import presence
from terminals.reachable import decide_access, default_login, find_host, find_host_at, rights_on
from tunnels import audit
from tunnels.acts import act
from tunnels.audit import Actor, Event
from tunnels.errors import Conflict, Invalid, NotAllowed
from tunnels.models import Host
from tunnels.text import printable

MAX_COMMAND = 1000
"""Characters of a command in the audit."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names by which a host is meant that has the tunnel port asked for, as `ssh -NR` by hand would have it."""


def open_session(
    *,
    person: Person,
    host_name: str,
    login: str | None,
    node: str,
    address: str,
    is_online: Callable[[UUID], bool],
    stated_reason: str = "",
    way: Session.Way = Session.Way.BROWSER,
    capability: Capability = Capability.TERMINAL,
    command: str = "",
    has_terminal: bool = True,
) -> Session:
    """Decide and write down a new session; its node then starts the terminal, or the `command`.

    Without a login it is the host's default, or the first one that the person has. Raises NotFound (unknown or out of
    reach, alike), NotAllowed with the reason, Conflict when the host is offline.
    """
    actor = Actor(person.username, address)
    with act(Event.SESSION_REFUSED, actor=actor, host=host_name, login=login or "") as facts:
        host = find_host(person, host_name, address=address)
        login = facts["login"] = _login(person, host, capability, address) if login is None else login
        decision = _admit(person, host, login, capability, address, is_online)
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
    return session


def open_forward(
    *, person: Person, name: str, port: int, node: str, address: str, is_online: Callable[[UUID], bool]
) -> Session:
    """Decide on a way to a host's SSH server, end to end, and write it down. What passes there, the broker cannot see.

    `name` and `port` are the host's name with port 22 or its tunnel port, or loopback with its tunnel port. Raises
    NotFound, NotAllowed or Conflict as `open_session`, Invalid for any other place.
    """
    actor = Actor(person.username, address)
    with act(Event.FORWARD_REFUSED, actor=actor, host=f"{printable(name, 63)}:{port}"):
        host = _destination(person, name, port, address)
        decision = _admit(person, host, None, Capability.FORWARD, address, is_online)
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
    is_online: Callable[[UUID], bool],
) -> Decision:
    decision = decide_access(person=person, host=host, login=login, capability=capability, address=address)
    if not decision.allowed:
        raise NotAllowed(decision.reason)
    if not is_online(host.pk):
        raise Conflict(f"{host.name} is offline: {presence(host).offline_reason or 'its tunnel is just coming up'}")
    return decision


@transaction.atomic
def end_session(
    *, session_id: UUID, reason: str, actor: Actor | None = None, bytes_in: int = 0, bytes_out: int = 0
) -> bool:
    """Close the row, with the reason; `actor` where a person did it. False when it has ended already.

    A node that holds the live terminal sees the closed row and lets go of it, whichever process ended it.
    """
    session = Session.objects.select_related("person", "host").get(pk=session_id)
    if session.ended_at is not None:
        # A person ended it and does not know the bytes; its node comes later and does.
        if bytes_in or bytes_out:
            Session.objects.filter(pk=session_id).update(bytes_in=bytes_in, bytes_out=bytes_out)
        return False
    session.ended_at = timezone.now()
    session.reason = printable(reason, 200)
    session.ended_by = actor.person if actor else ""
    session.bytes_in, session.bytes_out = bytes_in, bytes_out
    session.save(update_fields=["ended_at", "reason", "ended_by", "bytes_in", "bytes_out"])
    audit.record(
        Event.FORWARD_CLOSED if session.way == Session.Way.END_TO_END else Event.SESSION_ENDED,
        actor=actor or Actor(session.person.username, session.address),
        host=session.host.name,
        login=session.login,
        session=str(session.id),
        reason=reason,
        owner=session.person.username,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
    )
    return True


@transaction.atomic
def note_refusal(event: Event, *, actor: Actor, reason: str) -> None:
    """Something was refused before there was anything to decide."""
    audit.record(event, actor=actor, refused=True, reason=reason)


@transaction.atomic
def note_transfers(*, session_id: UUID, files: Iterable[dict[str, Any]]) -> None:
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
    for session in Session.objects.filter(ended_at=None).exclude(node=node):
        end_session(session_id=session.id, reason="broker lost", bytes_in=session.bytes_in, bytes_out=session.bytes_out)
