"""`terminals.live.Limits`: when a live terminal must end, as a table."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from terminals.live import Limits
from terminals.protocol import Close

LIMITS = {"grace_s": 60, "idle_s": 300, "longest_s": 3600}
NOW = 10_000.0

#           limits changed, seconds since: opened, last key, left alone (None: a driver is there)   what the end says
TABLE = [
    ({}, 10, 5, None, None),
    ({}, 10, 10, 59.9, None),
    ({}, 100, 100, 60, "nobody came back within 60 s"),
    ({}, 400, 299.9, None, None),
    ({}, 400, 300, None, "nothing was typed for 300 s"),
    ({}, 3599, 0, None, None),
    ({}, 3600, 0, None, "longest time that is allowed, 3600 s"),
    ({"idle_s": 0}, 3000, 3000, None, None),
    ({"longest_s": 0}, 90_000, 0, None, None),
    ({"idle_s": 10}, 100, 100, 5, None),  # nobody there to be idle: the grace decides
    ({}, 9000, 9000, 9000, "nobody came back"),
]


@pytest.mark.parametrize(("changed", "opened", "typed", "alone", "reason"), TABLE)
def test_exceeded(changed, opened, typed, alone, reason):
    terminal = SimpleNamespace(
        opened=NOW - opened, last_input=NOW - typed, unattended_since=None if alone is None else NOW - alone
    )
    end = Limits(**{**LIMITS, **changed}).exceeded(terminal, NOW)
    if reason is None:
        assert end is None
    else:
        assert reason in end.reason and end.code is Close.LIMIT
