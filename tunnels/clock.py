"""What time it is, for whatever expires: never earlier than this database has seen it.

A computer's clock may be set back, by hand, by a time server, or by a battery that died while it was off. What has
expired must stay so. Within a process the time goes on by the monotonic clock whenever the wall clock says less;
across processes and restarts the newest audit event is the witness. A clock that was wrong towards the future is
followed the same way: `manage.py accept_clock` puts on record that today's is right after all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from tunnels.models import AuditEvent


class Clock:
    """`wall` answers an aware datetime, `monotonic` seconds."""

    def __init__(self, wall: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._seen: tuple[datetime, float] | None = None
        """A time that was reached, and when by the monotonic clock. Replaced as a whole: threads share it."""

    def now(self) -> datetime:
        wall, monotonic = self._wall(), self._monotonic()
        if self._seen is not None:
            moment, at = self._seen
            if (reached := moment + timedelta(seconds=monotonic - at)) > wall:
                return reached
        self._seen = wall, monotonic
        return wall

    def see(self, moment: datetime) -> None:
        """That moment has been, whatever the wall clock says."""
        if moment > self.now():
            self._seen = moment, self._monotonic()

    def forget(self) -> None:
        """The wall clock is right."""
        self._seen = None


def _wall() -> datetime:
    return timezone.now()


_clock = Clock(_wall)
now = _clock.now
see = _clock.see
forget = _clock.forget


def behind() -> timedelta:
    """How far the wall clock is behind the time that was reached; nothing where it is not."""
    return max(now() - timezone.now(), timedelta())


def learn() -> timedelta:
    """Ask the database for the newest time that it has seen, at the start of a process. `behind` it, then."""
    if (newest := AuditEvent.objects.order_by("-sequence").values_list("time", flat=True).first()) is not None:
        see(newest)
    return behind()
