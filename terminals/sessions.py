"""The acts on terminal sessions: opened and ended once each, in the row and in the audit."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from terminals.access import Capability
from terminals.models import Person, Session
from terminals.presence import presence
from terminals.reachable import decide_access, find_host
from tunnels import audit
from tunnels.acts import act
from tunnels.audit import Actor, Event
from tunnels.errors import Conflict, NotAllowed
from tunnels.text import printable


def open_session(
    *,
    person: Person,
    host_name: str,
    login: str,
    node: str,
    address: str,
    is_online: Callable[[UUID], bool],
    stated_reason: str = "",
) -> Session:
    """Decide and write down a new session; its node then starts the terminal.

    Raises NotFound (unknown or out of reach, alike), NotAllowed with the reason, Conflict when the host is offline.
    """
    actor = Actor(person.username, address)
    with act(Event.SESSION_REFUSED, actor=actor, host=host_name, login=login):
        host = find_host(person, host_name, address=address)
        decision = decide_access(person=person, host=host, login=login, capability=Capability.TERMINAL, address=address)
        if not decision.allowed:
            raise NotAllowed(decision.reason)
        if not is_online(host.pk):
            raise Conflict(f"{host.name} is offline: {presence(host).offline_reason or 'its tunnel is just coming up'}")
        session = Session.objects.create(
            person=person,
            host=host,
            login=login,
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
            stated_reason=stated_reason,
        )
    return session


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
        Event.SESSION_ENDED,
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
