"""`terminals.limits`: when a live terminal must end, and when a person is told before, as tables."""

from __future__ import annotations

import pytest

from terminals.limits import Clocks, GrantLimits, Limit, Limits
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
    clocks = Clocks(NOW - opened, NOW - typed, None if alone is None else NOW - alone)
    end = Limits(**{**LIMITS, **changed}).exceeded(clocks, NOW)
    if reason is None:
        assert end is None
    else:
        assert reason in end.reason and end.code is Close.LIMIT


#        limits changed, seconds since: opened, last key    the warnings, with the seconds left
NEAR = [
    ({}, 10, 10, {}),
    ({}, 400, 239.9, {}),
    ({}, 400, 240, {Limit.IDLE: 60}),
    ({}, 400, 299.5, {Limit.IDLE: 1}),
    ({}, 3539, 0, {}),
    ({}, 3541, 0, {Limit.LONGEST: 59}),
    ({}, 3590, 295, {Limit.IDLE: 5, Limit.LONGEST: 10}),
    ({"idle_s": 20}, 100, 9, {}),
    ({"idle_s": 20}, 100, 10, {Limit.IDLE: 10}),
    ({"idle_s": 0, "longest_s": 0}, 90_000, 90_000, {}),
]


@pytest.mark.parametrize(("changed", "opened", "typed", "warnings"), NEAR)
def test_near(changed, opened, typed, warnings):
    assert Limits(**{**LIMITS, **changed}).near(Clocks(NOW - opened, NOW - typed, None), NOW) == warnings


#          settings (grace, idle, longest)   of the grant          what counts
TIGHTENED = [
    ((60, 300, 3600), (None, None, None), (60, 300, 3600)),
    ((60, 300, 3600), (30, 60, 600), (30, 60, 600)),
    ((60, 300, 3600), (90, 900, 9000), (60, 300, 3600)),
    ((60, 0, 0), (None, 60, 600), (60, 60, 600)),
    ((60, 0, 0), (None, None, None), (60, 0, 0)),
]


@pytest.mark.parametrize(("settings", "grant", "counts"), TIGHTENED)
def test_a_grant_tightens_and_never_loosens(settings, grant, counts):
    names = ("grace_s", "idle_s", "longest_s")
    node = Limits(**dict(zip(names, settings, strict=True)))
    assert node.tightened(GrantLimits(*grant)) == Limits(**dict(zip(names, counts, strict=True)))
