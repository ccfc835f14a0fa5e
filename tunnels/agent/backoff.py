"""How long to wait before the next try. Pure: the caller brings the randomness."""

from __future__ import annotations

import re
from dataclasses import dataclass

HINT = re.compile(r"retry after (\d{1,6}(?:\.\d{1,3})?) ?s\b", re.IGNORECASE)
LONGEST_HINT_S = 600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The agent's times, in seconds. Tests pass shorter ones."""

    first_retry: float = 0.5
    longest_retry: float = 60.0
    settled: float = 60.0
    """A tunnel that lived this long was a good one: the next failure starts from `first_retry` again."""
    poll: float = 2.0
    dormant: float = 300.0
    """Between looks at an enrollment that was rejected or revoked: an admin may change their mind."""
    first_refresh: float = 120.0
    """From the start of a tunnel to the first look at what the portal says about our enrollment now."""
    refresh: float = 6 * 3600.0
    connect: float = 20.0
    keepalive: float = 10.0
    hangup: float = 3.0
    """From SIGHUP to SIGKILL for a program whose terminal is gone."""


def delay_s(attempt: int, jitter: float, pace: Pace, hint_s: float | None = None) -> float:
    """Seconds to wait after failure number `attempt` (from 0). `jitter` is random in [0, 1).

    A hint of the broker is a floor, so that it can spread its agents; jitter comes on top of it.
    """
    ceiling = min(pace.longest_retry, pace.first_retry * 2.0 ** min(attempt, 30))
    own = ceiling * (0.5 + jitter / 2)
    if hint_s is None:
        return own
    return max(min(hint_s, LONGEST_HINT_S) * (1 + jitter / 4), own)


def retry_hint_s(reason: str) -> float | None:
    """Seconds in the broker's "retry after 5 s"; None where it says nothing."""
    found = HINT.search(reason)
    return float(found[1]) if found else None


def spread(seconds: float, jitter: float) -> float:
    """`seconds` give or take a quarter, so that many agents do not ask in step."""
    return seconds * (0.75 + jitter / 2)


def in_words(seconds: float) -> str:
    """`3 s`, `0.4 s`: for the lines that people read."""
    return f"{seconds:.0f} s" if seconds >= 1.95 else f"{max(seconds, 0.1):.1f} s"
