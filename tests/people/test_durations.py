"""Lengths of time as people type and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.durations import duration_text, limit_words, parse_duration
from terminals.limits import GrantLimits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45),
        ("30s", 30),
        ("10m", 600),
        ("10 min", 600),
        (" 2h ", 7200),
        ("7d", 604_800),
        ("0", 0),
        ("", None),
        ("m", None),
        ("-5m", None),
        ("1.5h", None),
        ("10 minutes", None),
        ("10m 5s", None),
        ("1234567890", None),
        ("٣m", None),
    ],
)
def test_typed(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45, "45 s"), (600, "10 min"), (5400, "1 h 30 min"), (86_400, "1 d"), (90_061, "1 d 1 h 1 min 1 s")],
)
def test_read(seconds, text):
    assert duration_text(seconds) == text


@given(st.integers(0, 10**9))
def test_what_is_read_adds_up(seconds):
    words = duration_text(seconds).split()
    parts = [parse_duration(f"{count} {unit}") for count, unit in zip(words[::2], words[1::2], strict=True)]
    assert sum(parts) == seconds


def test_limits():
    assert limit_words(GrantLimits()) == []
    assert limit_words(GrantLimits(grace_s=300, longest_s=7200)) == ["longest 2 h", "grace 5 min"]
