"""Points in time as people type them: ISO 8601 with zone, or a duration. Knows no Django."""

from __future__ import annotations

from datetime import datetime, timedelta

from brokerd.conf import parse_duration


def parse_time(text: str, now: datetime, *, past: bool = False) -> datetime:
    """`2026-01-31T12:00+01:00`, `...Z`, or a duration such as `7d`: that long from `now`, or before it with `past`.

    Where something ends (`--until`, `--expires`) a duration counts forward; where a look back begins (`--since`),
    backward. ValueError on anything else.
    """
    try:
        seconds = timedelta(seconds=parse_duration(text))
    except ValueError:
        return _parse_iso(text)
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long") from error
    try:
        return now - seconds if past else now + seconds
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long") from error


def _parse_iso(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a time such as 2026-01-31T12:00Z nor a duration such as 7d") from None
    if time.tzinfo is None:
        raise ValueError(f"{text!r} names no zone; write {text}Z for UTC")
    return time
