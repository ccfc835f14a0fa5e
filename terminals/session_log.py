"""Reading the sessions that there were: one filter for page, search and export, and what they add up to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, QuerySet, Sum

from terminals.models import Recording, Session
from terminals.moments import check_moment
from tunnels.audit import Actor, Event, record

BATCH = 100
NOT_RECORDED = "not recorded"
RECORDED: dict[str, Q] = {
    "recorded": Q(recording__state__in=(Recording.State.RECORDING, Recording.State.SEALED)),
    "failed": Q(recording__state=Recording.State.FAILED),
    "pruned": Q(recording__state=Recording.State.PRUNED),
    NOT_RECORDED: Q(recording=None),
}
"""What one can ask about their recordings."""
COLUMNS = (
    "session",
    "person",
    "host",
    "login",
    "way",
    "started",
    "ended",
    "seconds",
    "reason",
    "ended by",
    "opened for",
    "address",
    "bytes in",
    "bytes out",
    "recording",
    "sha256",
)


@dataclass(frozen=True, slots=True)
class Totals:
    count: int
    time: timedelta
    size: int
    """Bytes, both ways."""

    @property
    def hours(self) -> float:
        return self.time.total_seconds() / 3600


def find_sessions(
    rows: QuerySet[Session],
    *,
    person: str = "",
    host: str = "",
    way: str = "",
    recorded: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[Session]:
    """Those of `rows` that fit everything given. `since` and `until` find what went on in between, not what began."""
    check_moment(since)
    check_moment(until)
    exact = {"person__username": person, "host__name": host, "way": way, "started_at__lt": until}
    found = rows.filter(**{name: value for name, value in exact.items() if value})
    if since:
        found = found.filter(Q(ended_at=None) | Q(ended_at__gte=since))
    return found.filter(RECORDED[recorded]) if recorded else found


def totals(ended: QuerySet[Session]) -> Totals:
    lasted = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    sums = ended.order_by().aggregate(
        count=Count("pk"), time=Sum(lasted), size=Sum(F("bytes_in") + F("bytes_out"), default=0)
    )
    return Totals(sums["count"], sums["time"] or timedelta(), sums["size"])


def recording_words(session: Session) -> str:
    """What became of its recording, or is becoming. A session that was fetched with its recording asks no database."""
    recording: Recording | None = getattr(session, "recording", None)
    if recording is None:
        return NOT_RECORDED
    return "recorded" if recording.state == Recording.State.SEALED else str(recording.state)


def cells(session: Session) -> list[str]:
    """The row of an export, by `COLUMNS`."""
    ended, recording = session.ended_at, getattr(session, "recording", None)
    return [
        str(session.pk),
        session.person.username,
        session.host.name,
        session.login,
        session.way,
        session.started_at.isoformat(),
        ended.isoformat() if ended else "",
        str(round((ended - session.started_at).total_seconds())) if ended else "",
        session.reason,
        session.ended_by,
        session.stated_reason,
        session.address,
        str(session.bytes_in),
        str(session.bytes_out),
        recording_words(session),
        recording.sha256 if recording else "",
    ]


@transaction.atomic
def note_search(*, actor: Actor, words: str, sessions: Sequence[UUID]) -> None:
    """Audit that somebody was shown lines out of the recordings of `sessions`."""
    ids = [str(one) for one in sessions]
    record(Event.RECORDING_VIEWED, actor=actor, way="search", words=words, sessions=ids)


async def in_batches(found: QuerySet[Session]) -> AsyncIterator[Sequence[Session]]:
    """All of `found`, oldest first. Cancelling it between two batches leaves nothing behind."""
    ordered = found.select_related("person", "host", "recording").order_by("started_at", "-id")  # an index backwards
    batches = _batches(ordered)
    while batch := await sync_to_async(lambda: next(batches, None))():
        yield batch


def _batches(ordered: QuerySet[Session]) -> Iterator[list[Session]]:
    rows = ordered
    while batch := list(rows[:BATCH]):
        yield batch
        last = batch[-1]
        at = last.started_at
        rows = ordered.filter(Q(started_at__gt=at) | Q(id__lt=last.pk), started_at__gte=at)
