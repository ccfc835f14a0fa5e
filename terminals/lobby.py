"""Those who came by a link: asking, then admitted or refused by the owner. In memory of the node, and bounded. Pure.

Whoever asks gets a key, with which they come back to hear the answer. An admission is for one terminal session and one
person or guest; its secret is derived from the key, so that neither is kept, and it dies with the session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from terminals.company import Asking
from terminals.protocol import Role
from terminals.seats import Seat
from tunnels.errors import TooMany

MAX_WAITING = 20
"""Of one share."""
MAX_OF_PARTY = 10
MAX_OF_SHARE = 200
"""In whatever state."""
MAX_OF_NODE = 5000
PATIENCE_S = 90
"""Who does not come back to hear the answer for so long has gone. Browsers let a hidden page ask once a minute."""
KEEP_S = 300
"""How long a refusal can be heard."""


class State(StrEnum):
    ASKING = "asking"
    ADMITTED = "admitted"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(eq=False, slots=True)
class Ask:
    id: str
    session: UUID
    seat: Seat
    since: datetime
    state: State
    key_digest: str
    secret_digest: str
    heard_at: float

    @property
    def role(self) -> Role:
        """The most that it would give."""
        return Role.DRIVER if self.seat.may_drive else Role.WATCHER


class Lobby:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pepper = secrets.token_bytes(32)
        self._asks: dict[str, Ask] = {}
        self._by_secret: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._asks)

    @property
    def open(self) -> list[Ask]:
        """Those that wait or were let in."""
        return [ask for ask in self._asks.values() if ask.state in (State.ASKING, State.ADMITTED)]

    def ask(self, *, session: UUID, seat: Seat, since: datetime, is_invited: bool = False) -> tuple[Ask, str]:
        """A new request and its key. Who was let in before, or `is_invited`, is let in. TooMany when too many wait."""
        self.tick()
        of_share = [ask for ask in self._asks.values() if ask.seat.basis.share == seat.basis.share]
        own = [ask for ask in of_share if ask.seat.party == seat.party]
        is_known = is_invited or any(ask.state is State.ADMITTED for ask in own)
        for old in own:
            if old.state is State.ASKING or (len(own) >= MAX_OF_PARTY and old is own[0]):
                self._forget(old)
                of_share.remove(old)
        waiting = sum(ask.state is State.ASKING for ask in of_share)
        is_full = len(of_share) >= MAX_OF_SHARE or len(self._asks) >= MAX_OF_NODE
        if is_full or (not is_known and waiting >= MAX_WAITING):
            raise TooMany("too many are asking already; try again in a moment", 10)
        key = secrets.token_urlsafe(32)
        secret = self.secret(key)
        state = State.ADMITTED if is_known else State.ASKING
        new = Ask(secrets.token_urlsafe(12), session, seat, since, state, _digest(key), _digest(secret), self._clock())
        self._asks[new.id] = new
        self._by_secret[new.secret_digest] = new.id
        return new, key

    def secret(self, key: str) -> str:
        """The admission that belongs to a key."""
        return hmac.new(self._pepper, key.encode(), hashlib.sha256).hexdigest()

    def hear(self, ask_id: str, key: str) -> Ask | None:
        """The request, for who holds its key."""
        ask = self._asks.get(ask_id)
        if ask is None or not hmac.compare_digest(ask.key_digest, _digest(key)):
            return None
        if ask.state is State.ASKING:
            ask.heard_at = self._clock()
        return ask

    def decide(self, session: UUID, ask_id: str, *, admit: bool) -> Ask | None:
        """The owner's answer; None where nobody waits for it."""
        ask = self._asks.get(ask_id)
        if ask is None or ask.session != session or ask.state is not State.ASKING:
            return None
        ask.state, ask.heard_at = (State.ADMITTED if admit else State.REFUSED), self._clock()
        return ask

    def admitted(self, secret: str, session: UUID) -> Ask | None:
        """Who was let in with this secret into this session."""
        ask = self._asks.get(self._by_secret.get(_digest(secret), ""))
        return ask if ask is not None and ask.session == session and ask.state is State.ADMITTED else None

    def waiting(self, session: UUID) -> tuple[Asking, ...]:
        return tuple(
            Asking(ask.id, ask.seat.name, ask.seat.is_guest, ask.role, ask.since.isoformat())
            for ask in self._asks.values()
            if ask.session == session and ask.state is State.ASKING
        )

    def end(self, asks: Iterable[Ask]) -> None:
        """These may not come in (any more)."""
        for ask in asks:
            ask.state, ask.heard_at = State.ENDED, self._clock()

    def of(self, *, session: UUID, party: str | None = None) -> list[Ask]:
        """All of a session, or of one who is there."""
        return [ask for ask in self._asks.values() if ask.session == session and party in (None, ask.seat.party)]

    def tick(self) -> set[UUID]:
        """Forget who has gone. Answers the sessions of which somebody waited."""
        now, left = self._clock(), set()
        for ask in list(self._asks.values()):
            silent_s = now - ask.heard_at
            if ask.state is State.ASKING and silent_s > PATIENCE_S:
                left.add(ask.session)
                self._forget(ask)
            elif ask.state in (State.REFUSED, State.ENDED) and silent_s > KEEP_S:
                self._forget(ask)
        return left

    def _forget(self, ask: Ask) -> None:
        del self._asks[ask.id], self._by_secret[ask.secret_digest]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
