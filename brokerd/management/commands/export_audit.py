"""Write the audit log out, oldest first, as JSON lines; on and on, where asked to."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from brokerd.management.base import ActCommand, argument
from brokerd.times import parse_time
from tunnels.audit import OPERATOR, Event, as_dict, newest_sequence, record
from tunnels.models import AuditEvent

AT_ONCE = 500
POLL_S = 0.5
GAP_S = 10
"""For so long a number may be missing while a later one is there, before the log counts as broken."""


class Command(ActCommand):
    help = "Prints audit events as JSON lines, oldest first. That it was done is itself audited."

    def add_arguments(self, parser: ArgumentParser) -> None:
        when = argument(lambda text: parse_time(text, timezone.now(), past=True))
        parser.add_argument("--since", type=when, metavar="T", help="ISO 8601 with zone, or a duration: so long ago")
        parser.add_argument("--until", type=when, metavar="T", help="likewise; events before that moment")
        parser.add_argument(
            "--since-sequence",
            type=int,
            default=1,
            metavar="N",
            help="from that number on: the last one seen, plus one",
        )
        parser.add_argument(
            "--follow", action="store_true", help="go on with each event as it comes, without leaving one out"
        )

    def act(self, **options: Any) -> None:
        since, until, first = options["since"], options["until"], options["since_sequence"]
        if options["follow"] and until:
            raise CommandError("--follow has no end: leave --until out")
        newest = newest_sequence()
        if first > newest + 1:
            raise CommandError(f"the audit log ends at {newest}, before {first}: is the database an older copy?")
        # First the fact, then the lines: an export that breaks off has still been one.
        with transaction.atomic():
            facts = {"since": _shown(since), "until": _shown(until), "follow": options["follow"]}
            record(Event.AUDIT_EXPORTED, actor=OPERATOR, since_sequence=first, **facts)
        stored = AuditEvent.objects.filter(sequence__range=(first, newest)).order_by("sequence")
        with suppress(KeyboardInterrupt, BrokenPipeError):
            for entry in _follow(first) if options["follow"] else stored.iterator(chunk_size=AT_ONCE):
                if (since is None or entry.time >= since) and (until is None or entry.time < until):
                    self.stdout.write(json.dumps(as_dict(entry)))
                    self.stdout.flush()


def _follow(first: int) -> Iterator[AuditEvent]:
    """Every event from number `first` on, without end; by number, so that each comes once, whoever commits when.

    CommandError where one is missing for good.
    """
    expected, missed_since = first, None
    while True:
        fresh = _read(expected)
        connected = [entry for number, entry in enumerate(fresh, start=expected) if entry.sequence == number]
        yield from connected
        expected += len(connected)
        if len(connected) == len(fresh):
            missed_since = None
        elif time.monotonic() - (missed_since := missed_since or time.monotonic()) > GAP_S:
            raise CommandError(f"event {expected} is missing, {fresh[-1].sequence} is there: see verify_audit")
        if not connected:
            time.sleep(POLL_S)


def _read(first: int) -> list[AuditEvent]:
    """The next ones; none also while the database is away."""
    try:
        return list(AuditEvent.objects.filter(sequence__gte=first).order_by("sequence")[:AT_ONCE])
    except OperationalError:
        connection.close()
        return []


def _shown(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
