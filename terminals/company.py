"""Who is at a terminal, and which of them holds its keyboard. Pure.

One viewer at most is the driver. The keyboard is the owner's: who gives it away takes it back at any time, and it falls
back to them when whoever has it leaves. Nobody takes it but the owner; everybody else is given it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from terminals.protocol import Role
from terminals.seats import OWNER
from terminals.viewer import Viewer

MAX_VIEWERS = 100
"""Of one terminal, beside its owner's."""
MAX_OF_PARTY = 5
"""Windows of one person or guest."""


class News(StrEnum):
    JOINED = "joined"
    LEFT = "left"
    ROLE_CHANGED = "role changed"


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody with a link, who waits for the owner to let them in."""

    id: str
    name: str
    is_guest: bool
    role: Role
    since: str
    """ISO 8601."""


class Company:
    """`owner` is their name. `noted` hears what happened to whom, for the audit and the recording."""

    def __init__(self, owner: str, noted: Callable[[News, Viewer, str], object]) -> None:
        self.viewers: list[Viewer] = []
        self.asking: tuple[Asking, ...] = ()
        self._owner = owner
        self._noted = noted
        self._holder = OWNER
        """The party that has the keyboard, though its connection may be lost for a moment."""
        self._is_telling = False

    @property
    def driver(self) -> Viewer | None:
        return next((viewer for viewer in self.viewers if viewer.role is Role.DRIVER), None)

    @property
    def is_attended(self) -> bool:
        """Whether somebody is there for whom the terminal stays open: its driver, or its owner."""
        return any(viewer.role is Role.DRIVER or self._is_owners(viewer) for viewer in self.viewers)

    @property
    def watchers(self) -> list[Viewer]:
        return [viewer for viewer in self.viewers if viewer.role is Role.WATCHER]

    def find(self, viewer_id: str) -> Viewer | None:
        return next((viewer for viewer in self.viewers if viewer.id == viewer_id), None)

    def of_owner(self) -> Viewer | None:
        """Where the owner would type."""
        return next((viewer for viewer in self.viewers if self._is_owners(viewer)), None)

    def has_room(self, party: str) -> bool:
        """Whether one more of this party may join. The owner always may."""
        others = [viewer.seat.party for viewer in self.viewers if not viewer.seat.is_owner]
        return party == OWNER or (len(others) < MAX_VIEWERS and others.count(party) < MAX_OF_PARTY)

    def join(self, viewer: Viewer) -> list[Viewer]:
        """Add it, in the role that it can have now. Answers those whose place it takes, who are out already."""
        replaced = [other for other in self.viewers if self._replaces(viewer, other)]
        self.viewers = [other for other in self.viewers if other not in replaced]
        viewer.role = Role.DRIVER if self._drives(viewer) else Role.WATCHER
        if viewer.role is Role.DRIVER:
            self._holder, viewer.has_driven = viewer.seat.party, True
        self.viewers.append(viewer)
        if not viewer.seat.is_owner:
            self._noted(News.JOINED, viewer, "")
        self.tell()
        return replaced

    def leave(self, viewer: Viewer, reason: str = "") -> None:
        self.viewers.remove(viewer)
        if not viewer.seat.is_owner:
            self._noted(News.LEFT, viewer, reason)
        self.tell()

    def give(self, viewer: Viewer | None) -> None:
        """The keyboard goes to this viewer, or lies there for the owner."""
        before = self.driver
        self._holder = viewer.seat.party if viewer else OWNER
        if viewer is before:
            return
        if before is not None:
            before.role = Role.WATCHER
            self._noted(News.ROLE_CHANGED, before, "")
        if viewer is not None:
            viewer.role, viewer.has_driven, viewer.wants = Role.DRIVER, True, False
            self._noted(News.ROLE_CHANGED, viewer, "")
        self.tell()

    def want(self, viewer: Viewer, wants: bool) -> None:
        if viewer.wants != wants:
            viewer.wants = wants
            self.tell()

    def tell(self) -> None:
        """Tell everybody who is here, once for all that happens in one turn of the loop."""
        if not self._is_telling:
            self._is_telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def items(self) -> list[dict[str, Any]]:
        return [viewer.facts() for viewer in self.viewers]

    def _tell(self) -> None:
        self._is_telling = False
        facts = {"owner": self._owner, "items": self.items()}
        for_all = json.dumps(facts, separators=(",", ":"))
        for_owner = json.dumps({**facts, "asking": [asdict(asking) for asking in self.asking]}, separators=(",", ":"))
        for viewer in self.viewers:
            viewer.tell_company(for_owner if viewer.seat.is_owner else for_all)

    def _drives(self, viewer: Viewer) -> bool:
        may = viewer.asked is Role.DRIVER and viewer.seat.may_drive and self.driver is None
        return may and (viewer.seat.is_owner or viewer.seat.party == self._holder)

    @staticmethod
    def _replaces(viewer: Viewer, other: Viewer) -> bool:
        is_same = viewer.asked is Role.DRIVER and viewer.seat.party == other.seat.party
        return is_same and Role.DRIVER in (other.asked, other.role)

    @staticmethod
    def _is_owners(viewer: Viewer) -> bool:
        return viewer.seat.is_owner and viewer.seat.may_drive
