"""Who somebody is in a terminal session, what they may do there, and what that rests on. Pure.

A seat is decided once, when a ticket is made, and never grows: to do more, somebody comes again. What it rests on is
asked anew while they are there (`terminals.recheck_seats`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

OWNER = "owner"
"""The owner's party."""


class Via(StrEnum):
    """By what right somebody is there."""

    OWNER = "owner"
    SHARE = "share"
    OBSERVE = "observe"


class Way(StrEnum):
    BROWSER = "browser"
    SSH = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The facts that must go on to hold. None: this one does not matter."""

    person: int | None = None
    """Primary key of the person; None for a guest."""
    address: str = ""
    share: UUID | None = None
    web_login: str | None = None
    """As `login_store.web_login` has it."""
    api_token: int | None = None
    second_factor: bool = False
    """Whether they came with one."""


NOTHING = Basis()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    name: str
    """Of the person, or as a guest called themself."""
    via: Via
    may_drive: bool = False
    is_guest: bool = False
    way: Way = Way.BROWSER
    party: str = OWNER
    """Who takes the place of whom: a driver's window that is opened anew replaces the one before of the same party."""
    basis: Basis = NOTHING

    @property
    def is_owner(self) -> bool:
        return self.via is Via.OWNER

    @property
    def label(self) -> str:
        """For people to read. A guest may take any name, and is told apart all the same."""
        return f"{self.name} (guest)" if self.is_guest else self.name


def owner_seat(name: str, *, may_drive: bool = True, way: Way = Way.BROWSER, basis: Basis = NOTHING) -> Seat:
    return Seat(name=name, via=Via.OWNER, may_drive=may_drive, way=way, basis=basis)
