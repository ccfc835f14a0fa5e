"""How often somebody may fail to prove who they are: by password, by a code, at any door of the portal.

Counted for half an hour, in the database, so that a restart forgives nothing:

- 5 failures for one name from one address close the portal to that name from that address.
- 20 failures from one address, whatever the names, close it to that address.
- 20 failures for one name, from wherever, close it to that name, but not where that person has logged in from within
  the last 30 days: somebody far away cannot lock them out of their own desk.

Whether a name is somebody's changes nothing in this, so that nobody learns it here. Refused attempts are not counted:
who waits gets in again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from terminals.models import LoginAttempt
from tunnels.errors import TooMany
from tunnels.throttle import source_of

WINDOW = timedelta(minutes=30)
MOST_OF_NAME_AND_SOURCE = 5
MOST_OF_SOURCE = 20
MOST_OF_NAME = 20
KNOWN_FOR = timedelta(days=30)
MAX_NAME = 64


def begin(name: str, address: str, now: datetime | None = None) -> LoginAttempt:
    """Count an attempt as failed before it is made: of many at once, no more are made than may fail. Raises TooMany."""
    name, source, now = name[:MAX_NAME], source_of(address), now or timezone.now()
    with transaction.atomic():
        LoginAttempt.objects.filter(failed=True, at__lte=now - WINDOW).delete()
        LoginAttempt.objects.filter(at__lte=now - KNOWN_FOR).delete()
        row = LoginAttempt.objects.create(name=name, source=source, at=now)
        failures = LoginAttempt.objects.filter(failed=True).exclude(pk=row.pk)
        waits = [
            _wait(failures.filter(name=name, source=source), MOST_OF_NAME_AND_SOURCE, now),
            _wait(failures.filter(source=source), MOST_OF_SOURCE, now),
        ]
        if not LoginAttempt.objects.filter(failed=False, name=name, source=source).exists():
            waits.append(_wait(failures.filter(name=name), MOST_OF_NAME, now))
        if (wait := max(waits)) > timedelta():
            minutes = ceil(wait / timedelta(minutes=1))
            unit = "minute" if minutes == 1 else "minutes"
            raise TooMany(f"too many failed attempts; try again in {minutes} {unit}", ceil(wait.total_seconds()))
    return row


def passed(row: LoginAttempt) -> None:
    """It did not fail."""
    row.delete()


def logged_in(name: str, address: str, now: datetime | None = None) -> None:
    """Whoever has that name is at home at that address."""
    LoginAttempt.objects.update_or_create(
        name=name, source=source_of(address), failed=False, defaults={"at": now or timezone.now()}
    )


def _wait(failures: QuerySet[LoginAttempt], most: int, now: datetime) -> timedelta:
    """Until fewer than `most` of them count."""
    newest = list(failures.order_by("-at").values_list("at", flat=True)[:most])
    return newest[-1] + WINDOW - now if len(newest) == most else timedelta()
