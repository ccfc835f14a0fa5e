"""Reading the audit log: one filter for the page, REST and the export, and the note that somebody took it away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import QuerySet

from terminals.moments import check_moment
from tunnels.audit import Actor, Event, record
from tunnels.models import AuditEvent

BATCH = 500


def find_events(
    *,
    event: str | None = None,
    person: str | None = None,
    host: str | None = None,
    session: str | None = None,
    outcome: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[AuditEvent]:
    """The events that fit everything given; from `since` on, before `until`."""
    check_moment(since)
    check_moment(until)
    exact = {"event": event, "person": person, "host": host, "session": session, "outcome": outcome}
    span = {"time__gte": since, "time__lt": until}
    return AuditEvent.objects.filter(**{name: value for name, value in (exact | span).items() if value})


def note_export(*, actor: Actor, **filters: Any) -> int:
    """Audit an export and return the newest sequence that belongs in it: the event of the export itself comes after."""
    told = {name: str(value) for name, value in filters.items() if value}
    with transaction.atomic():
        return record(Event.AUDIT_EXPORTED, actor=actor, filters=told).sequence - 1


async def in_batches(found: QuerySet[AuditEvent], newest: int) -> AsyncIterator[list[AuditEvent]]:
    """`found` up to number `newest`, oldest first: the log may be larger than memory.

    Cancelling it between two batches leaves nothing behind.
    """
    ordered, last = found.filter(sequence__lte=newest).order_by("sequence"), 0
    while batch := await sync_to_async(_after)(ordered, last):
        yield batch
        last = batch[-1].sequence


def _after(ordered: QuerySet[AuditEvent], last: int) -> list[AuditEvent]:
    return list(ordered.filter(sequence__gt=last)[:BATCH])
