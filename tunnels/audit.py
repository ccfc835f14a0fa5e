"""The audit log: facts in a hash chain, each written in the transaction of the act that it tells of.

`record` is the only writer. Each event carries the hash of the one before it, so that an edit, a deletion or an
insertion breaks the chain from there on (`verify`). The chain is also the feed of changes: whoever wants to know that
something was committed subscribes to `committed`, and polls `newest_sequence` for what other processes wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4, uuid5

from django.db import connection, transaction

from tunnels import clock, metrics
from tunnels.models import AuditEvent
from tunnels.text import printable

GENESIS = "0" * 64


class Event(StrEnum):
    """The closed set. Past tense: each is something that happened, or was tried and refused."""

    ENROLLMENT_REQUESTED = "enrollment.requested"
    ENROLLMENT_REFUSED = "enrollment.refused"
    HOST_APPROVED = "host.approved"
    HOST_REJECTED = "host.rejected"
    HOST_REVOKED = "host.revoked"
    HOST_RENAMED = "host.renamed"
    HOST_KEY_PINNED = "host.key_pinned"
    HOST_KEY_MISMATCH = "host.key_mismatch"
    TUNNEL_OPENED = "tunnel.opened"
    TUNNEL_CLOSED = "tunnel.closed"
    TUNNEL_REFUSED = "tunnel.refused"
    TOKEN_CREATED = "token.created"
    TOKEN_USED = "token.used"
    TOKEN_REFUSED = "token.refused"
    TOKEN_REVOKED = "token.revoked"
    PERSON_CREATED = "person.created"
    PERSON_DISABLED = "person.disabled"
    PERSON_LOGGED_IN = "person.logged_in"
    PERSON_LOGIN_FAILED = "person.login_failed"
    PERSON_LOGGED_OUT = "person.logged_out"
    KEY_ADDED = "key.added"
    KEY_REMOVED = "key.removed"
    GRANT_CREATED = "grant.created"
    GRANT_REVOKED = "grant.revoked"
    SESSION_OPENED = "session.opened"
    SESSION_REFUSED = "session.refused"
    SESSION_JOINED = "session.joined"
    SESSION_LEFT = "session.left"
    SESSION_ROLE_CHANGED = "session.role_changed"
    SESSION_ENDED = "session.ended"
    SHARE_CREATED = "share.created"
    SHARE_REVOKED = "share.revoked"
    FORWARD_OPENED = "forward.opened"
    FORWARD_REFUSED = "forward.refused"
    FORWARD_CLOSED = "forward.closed"
    FILE_TRANSFERRED = "file.transferred"
    RECORDING_FAILED = "recording.failed"
    RECORDING_VIEWED = "recording.viewed"
    RECORDING_PRUNED = "recording.pruned"
    AUDIT_EXPORTED = "audit.exported"
    SETTING_CHANGED = "setting.changed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it, from where. No person: a machine, a command or a stranger; no address: this machine."""

    person: str = ""
    address: str = ""


OPERATOR = Actor()
"""Whoever runs management commands on the broker itself, and the broker's own doing."""


@dataclass(slots=True)
class _Fact:
    id: UUID
    happened: datetime | None
    events: int = 0

    def next_id(self) -> UUID:
        self.events += 1
        return self.id if self.events == 1 else uuid5(self.id, str(self.events))


_listeners: set[Callable[[], object]] = set()
_fact: ContextVar[_Fact | None] = ContextVar("what is being put on record", default=None)


@contextmanager
def as_of(fact: UUID, happened: datetime | None = None) -> Iterator[None]:
    """What is recorded inside is this one fact: its first event has its id. `happened`, where it is told late."""
    token = _fact.set(_Fact(fact, happened))
    try:
        yield
    finally:
        _fact.reset(token)


def is_recorded(fact: UUID) -> bool:
    return AuditEvent.objects.filter(pk=fact).exists()


def moment() -> datetime:
    """When what is being put on record happened: now, unless it is told late."""
    fact = _fact.get()
    return fact.happened if fact is not None and fact.happened is not None else clock.now()


def subscribe(listener: Callable[[], object]) -> Callable[[], None]:
    """Call `listener`, in the committing thread, after each committed event of this process. Returns the undo."""
    _listeners.add(listener)
    return lambda: _listeners.discard(listener)


def announce() -> None:
    """Tell the listeners that something was committed: for the rare change whose event is only written later."""
    for listener in tuple(_listeners):
        listener()


def record(
    event: Event,
    *,
    actor: Actor = OPERATOR,
    refused: bool = False,
    host: str = "",
    login: str = "",
    session: str = "",
    sets_clock: bool = False,
    **detail: Any,
) -> AuditEvent:
    """Append `event` to the chain. Must run inside a transaction: the act and its event stand or fall together.

    `detail` holds JSON values. Text is stored with control and direction characters made visible, because it comes
    from strangers and is shown to administrators. What is told late has `happened` in it. `time` never goes back,
    but in the event that `sets_clock` to that of the machine.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an audit event is written in its act's own transaction")
    # SQLite's transactions are IMMEDIATE: we hold the write lock, so nobody appends between this read and the write.
    last = AuditEvent.objects.order_by("-sequence").values_list("sequence", "hash", "time").first()
    if sets_clock:
        clock.forget()
    elif last:
        clock.see(last[2])
    fact = _fact.get()
    if fact is not None and fact.happened is not None:
        detail["happened"] = fact.happened.isoformat()
    entry = AuditEvent(
        id=fact.next_id() if fact is not None else uuid4(),
        sequence=last[0] + 1 if last else 1,
        time=clock.now(),
        event=event,
        person=printable(actor.person, 64),
        host=printable(host, 63),
        login=printable(login, 64),
        session=session,
        address=actor.address,
        outcome="refused" if refused else "ok",
        detail=_printable_json(detail),
        previous_hash=last[1] if last else GENESIS,
    )
    entry.hash = digest(entry)
    entry.save(force_insert=True)
    transaction.on_commit(metrics.events.labels(entry.event, entry.outcome).inc, robust=True)
    transaction.on_commit(announce, robust=True)  # what is committed is done, whatever becomes of those it is told
    return entry


def as_dict(entry: AuditEvent) -> dict[str, Any]:
    """The event as REST and export show it, and as it is hashed (without `hash`)."""
    return {
        "id": str(entry.id),
        "sequence": entry.sequence,
        "time": entry.time.isoformat(),
        "event": str(entry.event),
        "person": entry.person,
        "host": entry.host,
        "login": entry.login,
        "session": entry.session,
        "address": entry.address,
        "outcome": entry.outcome,
        "detail": entry.detail,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


def digest(entry: AuditEvent) -> str:
    """SHA-256 over the canonical JSON of everything but the hash itself."""
    facts = as_dict(entry)
    del facts["hash"]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verify(events: Iterable[AuditEvent]) -> AuditEvent | None:
    """The first event, in order of sequence, at which the chain does not hold; None when all of it holds."""
    sequence, previous_hash = 0, GENESIS
    for entry in events:
        intact = entry.sequence == sequence + 1 and entry.previous_hash == previous_hash
        if not intact or entry.hash != digest(entry):
            return entry
        sequence, previous_hash = entry.sequence, entry.hash
    return None


def newest_sequence() -> int:
    return AuditEvent.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 0


def _printable_json(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, 1000)
    if isinstance(value, dict):
        return {printable(str(key), 64): _printable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_printable_json(item) for item in value]
    return value
