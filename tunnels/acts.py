"""The frame of every act: one transaction for its changes and its audit events, and a record of its refusals.

A refusal raises, which rolls the act back: what was refused leaves no trace but its audit event. That event would roll
back as well, so it is written afterwards, in a transaction of its own:

    with act(Event.GRANT_CREATED, actor=actor, host=host.name):
        if ...:
            raise Invalid("...")
        grant = Grant.objects.create(...)
        record(Event.GRANT_CREATED, actor=actor, host=host.name)

Acts nest. An inner act's refusal that nobody catches ends the outer one too, and the outermost writes all their events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.db import transaction

from tunnels import database
from tunnels.audit import Actor, Event, record
from tunnels.errors import DatabaseAway, Refused

_inside: ContextVar[bool] = ContextVar("inside an act", default=False)


@contextmanager
def act(refusal: Event, *, actor: Actor, **facts: Any) -> Iterator[dict[str, Any]]:
    """One transaction; a `Refused` out of it is audited as `refusal` with `facts`, then raised on.

    `facts` are what `record` takes: `host`, `login`, `session` and details. The body gets them as a dict, to add what
    it only finds out on the way. Open it outside any transaction that the refusal would roll back. Raises DatabaseAway,
    which cannot be on record, where the database is.
    """
    with together(), _refused_on_record(refusal, actor, facts):
        yield facts


@contextmanager
def check(refusal: Event, *, actor: Actor, **facts: Any) -> Iterator[None]:
    """As `act`, around a look at who may do something: what changes nothing does not wait for its turn to write, unless
    to put a refusal on record."""
    with _outermost(), _refused_on_record(refusal, actor, facts):
        yield


@contextmanager
def together() -> Iterator[None]:
    """Several acts in one transaction, all or none, each audited for itself: an approval with its grants."""
    with _outermost(), transaction.atomic():
        yield


@contextmanager
def _refused_on_record(refusal: Event, actor: Actor, facts: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        entry = partial(record, refusal, actor=actor, refused=True, **{**facts, "reason": refused.cause})
        refused.unwritten.append(entry)
        raise


@contextmanager
def _outermost() -> Iterator[None]:
    is_outermost = not _inside.get()
    token = _inside.set(True)
    try:
        with database.needed():
            try:
                yield
            except Refused as refused:
                if is_outermost and not isinstance(refused, DatabaseAway):
                    _write(refused)
                raise
    finally:
        _inside.reset(token)


def _write(refused: Refused) -> None:
    with transaction.atomic():
        while refused.unwritten:
            refused.unwritten.pop(0)()
