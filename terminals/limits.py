"""How long a terminal may wait, stay idle and last: the settings of the node, tightened by the grant. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from terminals.end import End
from terminals.protocol import Close

WARNING_S = 60
"""A person is told this long before a limit ends the terminal, or half of a limit that is shorter than twice that."""


Tell = Callable[..., object]
"""A message for the browser: its type, and facts."""


class Limit(StrEnum):
    IDLE = "idle"
    LONGEST = "longest"


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """What a grant sets, in seconds; None leaves it to the node."""

    grace_s: int | None = None
    idle_s: int | None = None
    longest_s: int | None = None


@dataclass(frozen=True, slots=True)
class Clocks:
    """What a terminal's limits are judged by, on one monotonic clock, in seconds."""

    opened: float
    last_input: float
    unattended_since: float | None
    """None while a driver is attached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds; 0 means none, but for `grace_s`."""

    grace_s: int
    idle_s: int
    longest_s: int

    def tightened(self, by: GrantLimits) -> Limits:
        """The shorter of each counts: a grant cannot loosen what the operator has set."""
        return Limits(
            grace_s=self.grace_s if by.grace_s is None else min(self.grace_s, by.grace_s),
            idle_s=_shorter(self.idle_s, by.idle_s),
            longest_s=_shorter(self.longest_s, by.longest_s),
        )

    def exceeded(self, clocks: Clocks, now: float) -> End | None:
        """The limit that is reached, as the terminal's end."""
        if clocks.unattended_since is not None and now - clocks.unattended_since >= self.grace_s:
            return End(f"nobody came back within {self.grace_s} s", Close.LIMIT)
        if self.idle_s and clocks.unattended_since is None and now - clocks.last_input >= self.idle_s:
            return End(f"nothing was typed for {self.idle_s} s", Close.LIMIT)
        if self.longest_s and now - clocks.opened >= self.longest_s:
            return End(f"it reached the longest time that is allowed, {self.longest_s} s", Close.LIMIT)
        return None

    def near(self, clocks: Clocks, now: float) -> dict[Limit, int]:
        """The limits that end an attended terminal soon, with the seconds left."""
        left = {}
        if self.idle_s:
            left[Limit.IDLE] = (self.idle_s, self.idle_s - (now - clocks.last_input))
        if self.longest_s:
            left[Limit.LONGEST] = (self.longest_s, self.longest_s - (now - clocks.opened))
        return {kind: ceil(seconds) for kind, (limit_s, seconds) in left.items() if seconds <= _warned_s(limit_s)}


class Warnings:
    """What the driver has been told of limits that are near. `tell` sends to them."""

    def __init__(self) -> None:
        self._given: set[Limit] = set()

    def are(self, near: dict[Limit, int], tell: Tell) -> None:
        """Seconds by limit: new ones are given, and those that are not in it any more taken back."""
        for kind in near.keys() - self._given:
            tell("limit", kind=kind, in_s=near[kind])
        self.take_back(self._given - near.keys(), tell)
        self._given = set(near)

    def take_back(self, kinds: set[Limit], tell: Tell) -> None:
        for kind in kinds & self._given:
            tell("limit", kind=kind, in_s=None)
        self._given -= kinds


def _shorter(setting_s: int, grant_s: int | None) -> int:
    limits = [seconds for seconds in (setting_s, grant_s) if seconds]
    return min(limits, default=0)


def _warned_s(limit_s: int) -> float:
    return min(WARNING_S, limit_s / 2)
