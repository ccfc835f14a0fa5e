"""One-time secrets that let one websocket attach to one terminal session in one role, within 30 s. In memory only."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from terminals.protocol import Role
from terminals.seats import Seat

LIFETIME_S = 30
MAX_OUTSTANDING = 10_000


@dataclass(frozen=True, slots=True)
class Ticket:
    session: UUID
    seat: Seat
    role: Role
    expires: float


class TicketBook:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tickets: dict[str, Ticket] = {}

    def mint(self, *, session: UUID, seat: Seat, role: Role) -> str:
        """A new secret of 256 bits; only its hash is kept. The oldest go when there are too many."""
        self._forget_expired()
        secret = secrets.token_urlsafe(32)
        self._tickets[_digest(secret)] = Ticket(session, seat, role, self._clock() + LIFETIME_S)
        return secret

    def redeem(self, secret: str, *, session: UUID) -> Ticket | None:
        """The ticket, once; None where it is unknown, used, expired or (which uses it up) for another session."""
        ticket = self._tickets.pop(_digest(secret), None)
        if ticket is None or ticket.session != session or ticket.expires <= self._clock():
            return None
        return ticket

    def forget(self, session: UUID, is_meant: Callable[[Seat], bool]) -> None:
        """Those of a session for such seats open nothing any more."""
        for digest, ticket in list(self._tickets.items()):
            if ticket.session == session and is_meant(ticket.seat):
                del self._tickets[digest]

    def _forget_expired(self) -> None:
        now = self._clock()
        # In order of expiry, since all live equally long.
        while self._tickets:
            oldest = next(iter(self._tickets))
            if self._tickets[oldest].expires > now and len(self._tickets) < MAX_OUTSTANDING:
                return
            del self._tickets[oldest]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
