"""Who may stand at the gateway's door: places for connections that are not logged in, and penalties of sources.

Pure decisions: it is told what happens and when (`now`, seconds of any monotonic clock), and knows no socket. A source
is an IPv4 address or an IPv6 /64 (`tunnels.throttle.source_of`).

Strangers get places as sshd gives them (MaxStartups): from ten on, more and more of those who come are turned away by
chance, so that a flood cannot time its way in. Sources from where somebody has logged in lately have places that
strangers cannot take: before a login nobody is known, but where they come from is. There a mistake weighs less, a
penalty stays short, and a login forgives everything, for many machines stand behind one address.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tunnels.throttle import source_of


class Offence(IntEnum):
    """What a connection did that ended without a login, in seconds of debt; a debt of `shortest_s` is a penalty."""

    LEFT = 1
    """Went before it tried a key, as probes and scanners do."""
    FAILED = 6
    """Had no key that is known here."""
    TRIED_MANY = 8
    SILENT = 10
    """Did not log in within the grace."""
    BROKE = 15
    """Did not speak SSH, or not by its rules."""


class Refusal(StrEnum):
    """Why a connection was closed at once, as metrics name it."""

    PENALTY = "penalty"
    SOURCE = "source"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLimits:
    strangers: int = 100
    drop_from: int = 10
    """Strangers who may stand there before chance decides; at `strangers` it is certain."""
    drop_share: float = 0.3
    of_source: int = 20
    known: int = 200
    """Places for known sources alone."""
    of_known_source: int = 100
    known_for_s: float = 7 * 86400
    lenience: float = 0.1
    """What an offence weighs from a known source."""
    shortest_s: float = 15
    longest_s: float = 600
    remembered_s: float = 3600
    """After so long without another penalty the next one is the shortest again."""
    table: int = 10_000
    """Sources that are remembered, in each table; the one that was quiet for longest is forgotten."""


@dataclass(eq=False, slots=True)
class Place:
    """One connection's place at the door."""

    source: str
    is_known: bool


@dataclass(slots=True)
class _Record:
    """What a source has against it."""

    debt_until: float = 0
    refused_until: float = 0
    penalties: int = 0


class Entry:
    def __init__(self, limits: EntryLimits | None = None, *, chance: Callable[[], float] = random.random) -> None:
        """`chance` answers at least 0 and less than 1."""
        self.limits = limits or EntryLimits()
        self.refused: Counter[Refusal] = Counter()
        self.penalties = 0
        self._chance = chance
        self._strangers: Counter[str] = Counter()
        self._known: Counter[str] = Counter()
        """Source -> places taken; those without one are not in it."""
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._seen: OrderedDict[str, float] = OrderedDict()
        """Known source -> when somebody logged in from there last, oldest first."""

    @property
    def waiting(self) -> int:
        """Places taken."""
        return self._strangers.total() + self._known.total()

    def admit(self, address: str, now: float) -> Place | Refusal:
        """A place for a connection that was just made, to be given back by `leave`."""
        source = source_of(address)
        place = Place(source, self.is_known(source, now))
        if refusal := self._refusal(place, now):
            self.refused[refusal] += 1
            return refusal
        self.take(place)
        return place

    def take(self, place: Place) -> None:
        """Once more, after `leave`: it is not asked whether there is room."""
        self._pool(place)[place.source] += 1

    def leave(self, place: Place) -> None:
        pool = self._pool(place)
        pool[place.source] -= 1
        if not pool[place.source]:
            del pool[place.source]

    def know(self, address: str, now: float) -> None:
        """Somebody has logged in from there: what is held against the source is forgiven."""
        source = source_of(address)
        self._seen[source] = now
        self._seen.move_to_end(source)
        self._records.pop(source, None)
        self._trim(self._seen)

    def is_known(self, source: str, now: float) -> bool:
        return now - self._seen.get(source, -float("inf")) < self.limits.known_for_s

    def offend(self, address: str, offence: Offence, now: float) -> float:
        """Hold something against the source. How long it is refused from now on, seconds; 0: not yet.

        Debt wears off as time goes by. Each penalty is twice as long as the one before, but for known sources.
        """
        limits, source = self.limits, source_of(address)
        is_known = self.is_known(source, now)
        record = self._records.pop(source, None) or _Record()
        self._records[source] = record
        self._trim(self._records)
        if now < record.refused_until:
            return 0  # it came in before the penalty began
        debt_s = max(0, record.debt_until - now) + offence * (limits.lenience if is_known else 1)
        record.debt_until = now + debt_s
        if debt_s < limits.shortest_s:
            return 0
        forgotten = now - record.refused_until > limits.remembered_s
        record.penalties = 1 if forgotten or is_known else record.penalties + 1
        penalty_s = min(limits.longest_s, limits.shortest_s * 2.0 ** min(record.penalties - 1, 16))
        record.refused_until, record.debt_until = now + penalty_s, now
        self.penalties += 1
        return penalty_s

    def _refusal(self, place: Place, now: float) -> Refusal | None:
        limits, pool = self.limits, self._pool(place)
        record = self._records.get(place.source)
        if record is not None and now < record.refused_until:
            return Refusal.PENALTY
        if pool[place.source] >= (limits.of_known_source if place.is_known else limits.of_source):
            return Refusal.SOURCE
        taken = pool.total()
        if place.is_known:
            return Refusal.FULL if taken >= limits.known else None
        return Refusal.FULL if self._chance() < self._drop_share(taken) else None

    def _drop_share(self, taken: int) -> float:
        """The share of strangers to turn away, as sshd has it: none, then from `drop_share` straight up to all."""
        limits = self.limits
        if taken >= limits.strangers:
            return 1
        if taken < limits.drop_from:
            return 0
        return limits.drop_share + (1 - limits.drop_share) * (taken - limits.drop_from) / (
            limits.strangers - limits.drop_from
        )

    def _pool(self, place: Place) -> Counter[str]:
        return self._known if place.is_known else self._strangers

    def _trim(self, table: OrderedDict[str, float] | OrderedDict[str, _Record]) -> None:
        while len(table) > self.limits.table:
            table.popitem(last=False)
