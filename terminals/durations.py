"""Lengths of time, and limits made of them, as people type and read them: `30s`, `10m`, `2h`, `7d`. Pure."""

from __future__ import annotations

import re

from terminals.limits import GrantLimits

_DURATION = re.compile(r"(\d{1,9}) ?(s|m|min|h|d|)", re.ASCII)
_UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_NAMED = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def parse_duration(text: str) -> int | None:
    """Seconds; a bare number is seconds. None when it is no duration."""
    match = _DURATION.fullmatch(text.strip())
    return int(match[1]) * _UNITS_S[match[2]] if match else None


def duration_text(seconds: int) -> str:
    """`600` as "10 min", `5400` as "1 h 30 min"."""
    words = []
    for name, unit_s in _NAMED:
        count, seconds = divmod(seconds, unit_s)
        if count:
            words.append(f"{count} {name}")
    return " ".join(words) or "0 s"


def limit_words(limits: GrantLimits) -> list[str]:
    """One for each that is set, such as "idle 10 min"."""
    named = (("idle", limits.idle_s), ("longest", limits.longest_s), ("grace", limits.grace_s))
    return [f"{name} {duration_text(seconds)}" for name, seconds in named if seconds is not None]
