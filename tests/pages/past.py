"""Past sessions by the thousand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from terminals.models import Person, Recording, Session
from tests.people.helpers import ADDRESS
from tunnels.models import Host

WAYS = list(Session.Way)


@contextmanager
def _chosen_times() -> Iterator[None]:
    """Rows say for themselves when they started."""
    started: Any = Session._meta.get_field("started_at")
    started.auto_now_add = False
    try:
        yield
    finally:
        started.auto_now_add = True


def past(person: Person, host: Host, *, ago_h: float = 1, lasted_h: float = 0.5, **facts: Any) -> Session:
    """One that began `ago_h` hours ago."""
    begun = timezone.now() - timedelta(hours=ago_h)
    given = {"login": "root", "node": "n1", "address": ADDRESS, "reason": "the shell ended", **facts}
    with _chosen_times():
        return Session.objects.create(
            person=person, host=host, started_at=begun, ended_at=begun + timedelta(hours=lasted_h), **given
        )


def recorded(session: Session, state: str = "sealed", **facts: Any) -> Session:
    Recording.objects.create(session=session, state=state, **facts)
    return session


def many(count: int, people: list[Person], hosts: list[Host]) -> None:
    """`count` of them, over people, hosts and ways, an hour apart but for every tenth, which begin together."""
    now = timezone.now()
    rows = []
    for number in range(count):
        begun = now - timedelta(hours=number - number % 10 + 1)
        rows.append(
            Session(
                id=uuid4(),
                person=people[number % len(people)],
                host=hosts[number % len(hosts)],
                login="root",
                way=WAYS[number % 3],
                node="n1",
                address=ADDRESS,
                started_at=begun,
                ended_at=begun + timedelta(minutes=6),
                bytes_in=10,
                bytes_out=90,
            )
        )
    with _chosen_times():
        Session.objects.bulk_create(rows, batch_size=1000)
    sealed = [Recording(session=row, state="sealed") for row in rows if row.way != Session.Way.END_TO_END]
    Recording.objects.bulk_create(sealed, batch_size=1000)
