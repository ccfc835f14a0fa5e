"""Write the audit log out, oldest first, as JSON lines."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.db import transaction
from django.utils import timezone

from brokerd.management.base import ActCommand, argument
from brokerd.times import parse_time
from tunnels.audit import OPERATOR, Event, as_dict, newest_sequence, record
from tunnels.models import AuditEvent


class Command(ActCommand):
    help = "Prints audit events as JSON lines, oldest first. That it was done is itself audited."

    def add_arguments(self, parser: ArgumentParser) -> None:
        when = argument(lambda text: parse_time(text, timezone.now(), past=True))
        parser.add_argument("--since", type=when, metavar="T", help="ISO 8601 with zone, or a duration: so long ago")
        parser.add_argument("--until", type=when, metavar="T", help="likewise; events before that moment")

    def act(self, **options: Any) -> None:
        since, until = options["since"], options["until"]
        chosen = AuditEvent.objects.filter(sequence__lte=newest_sequence()).order_by("sequence")
        if since:
            chosen = chosen.filter(time__gte=since)
        if until:
            chosen = chosen.filter(time__lt=until)
        # First the fact, then the lines: an export that breaks off has still been one.
        with transaction.atomic():
            record(Event.AUDIT_EXPORTED, actor=OPERATOR, since=_shown(since), until=_shown(until))
        for entry in chosen.iterator(chunk_size=1000):
            self.stdout.write(json.dumps(as_dict(entry)))


def _shown(time: Any) -> str | None:
    return time.isoformat() if time else None
