"""Points in time that people send: with their zone, and in years that every database can hold."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from tunnels.errors import Invalid

YEARS = range(1970, 9999)


def check_moment(time: datetime | None) -> None:
    """Invalid where `time` has no zone, or is so far off that turning it into UTC fails."""
    if time is None:
        return
    if timezone.is_naive(time):
        raise Invalid("a time needs its zone, such as 2026-01-31T18:00:00+01:00")
    if time.year not in YEARS:
        raise Invalid(f"a time lies between the years {YEARS.start} and {YEARS.stop - 1}")
