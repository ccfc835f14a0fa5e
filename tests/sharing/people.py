"""Who sits where: viewers of alice's terminal."""

from __future__ import annotations

from uuid import uuid4

from terminals.limits import Limits
from terminals.protocol import Role
from terminals.seats import Seat, Via, Way, owner_seat
from terminals.session import TerminalSession
from terminals.viewer import Viewer
from tests.core.wires import FakeWire

LIMITS = Limits(grace_s=60, idle_s=300, longest_s=3600)


def new_session(limits: Limits = LIMITS) -> TerminalSession:
    return TerminalSession(uuid4(), "alice", 80, 24, limits)


def owner(*, way: Way = Way.BROWSER) -> Viewer:
    return Viewer(FakeWire(), owner_seat("alice", way=way), Role.DRIVER)


def helper(name: str = "bob", asks: Role = Role.WATCHER, party: str = "") -> Viewer:
    """Came by a share that lets them drive."""
    return Viewer(FakeWire(), Seat(name=name, via=Via.SHARE, may_drive=True, party=party or name), asks)


def watcher(name: str = "carol", *, guest: bool = False, via: Via = Via.SHARE) -> Viewer:
    """May never drive."""
    return Viewer(FakeWire(), Seat(name=name, via=via, is_guest=guest, party=name), Role.WATCHER)


def join(session: TerminalSession, it: Viewer, **size: int) -> Viewer:
    session.attach(it, **{"cols": 80, "rows": 24, **size}, output_offset=None)
    return it


def company(it: Viewer) -> dict:
    """The newest that it was told of who is here."""
    return it.wire.of("viewers")[-1]
