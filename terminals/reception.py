"""Who is in the terminals of this node beside their owners: let in, moved, heard and sent away here, and on record.

Everything but `judge` runs on the node's loop and waits for nothing; request threads come by `LiveTerminals.call`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async

from terminals import sessions
from terminals.company import News
from terminals.lobby import Ask, Lobby
from terminals.models import Session
from terminals.protocol import Close
from terminals.recheck_seats import Sitting, judge_seats
from terminals.seats import NOTHING, Seat, Via
from terminals.session import TerminalSession
from terminals.tickets import TicketBook
from terminals.viewer import Viewer
from tunnels import spool
from tunnels.errors import Conflict, NotAllowed, NotFound

log = structlog.get_logger(__name__)


class Reception:
    """`terminals` are those of the node now; `own` runs a task to its end."""

    def __init__(
        self,
        *,
        tickets: TicketBook,
        terminals: Callable[[], Iterable[TerminalSession]],
        own: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.lobby = Lobby()
        self._tickets = tickets
        self._terminals = terminals
        self._own = own

    # Coming in

    def ask(self, *, session: UUID, seat: Seat, since: datetime, is_invited: bool) -> tuple[Ask, str]:
        """As `Lobby.ask`; the owner sees who asks."""
        terminal = self._find(session)
        answer = self.lobby.ask(session=session, seat=seat, since=since, is_invited=is_invited)
        self._show_asking(terminal)
        return answer

    def decide(self, session: UUID, ask_id: str, *, admit: bool) -> Ask:
        """The owner's answer to somebody who asks. NotFound when nobody does (any more)."""
        ask = self.lobby.decide(session, ask_id, admit=admit)
        if ask is None:
            raise NotFound("nobody is waiting for this answer any more")
        self._show_asking(self._find(session))
        return ask

    def seat_of(self, admission: str, session: UUID) -> Seat:
        """Of who holds this admission. NotFound otherwise."""
        if (ask := self.lobby.admitted(admission, session)) is None:
            raise NotFound("this admission is not valid (any more); open the link again")
        return ask.seat

    def check_room(self, session: UUID, seat: Seat) -> None:
        if not self._find(session).company.has_room(seat.party):
            raise Conflict("too many are watching this terminal already")

    # Being there: the owner's acts

    def hand_over(self, session: UUID, viewer_id: str | None) -> None:
        """The keyboard goes to this viewer; None: to the owner."""
        terminal = self._find(session)
        viewer = terminal.company.of_owner() if viewer_id is None else self._viewer(terminal, viewer_id)
        if viewer is None and terminal.company.driver is None:
            return
        if viewer is not None and not viewer.seat.may_drive:
            raise Conflict(f"{viewer.seat.label} may only watch")
        terminal.give(viewer)

    def remove(self, session: UUID, viewer_id: str) -> Seat:
        """Send somebody away, from all their windows. NotAllowed where they are not there by the owner's leave."""
        terminal = self._find(session)
        seat = self._viewer(terminal, viewer_id).seat
        if seat.via is not Via.SHARE:
            raise NotAllowed(f"{seat.label} is not here by your invitation: their own right lets them in")
        self.lobby.end(self.lobby.of(session=session, party=seat.party))
        self._dismiss(terminal, _is_of(seat.party), f"{terminal.person} asked you to leave")
        return seat

    def end_share(self, session: UUID, share: UUID) -> None:
        """It was revoked: who came by it goes, and who asks by it asks in vain."""
        self.lobby.end(ask for ask in self.lobby.of(session=session) if ask.seat.basis.share == share)
        if terminal := next((it for it in self._terminals() if it.id == session), None):
            reason = f"{terminal.person} revoked the share"
            self._dismiss(terminal, lambda seat: seat.basis.share == share, reason)
            self._show_asking(terminal)

    def say(self, session: UUID, name: str, text: str) -> None:
        """A line for everybody in the terminal."""
        self._find(session).say(f"{name}: {text}")

    def _dismiss(self, terminal: TerminalSession, is_meant: Callable[[Seat], bool], reason: str) -> None:
        self._tickets.forget(terminal.id, is_meant)
        for viewer in [viewer for viewer in terminal.viewers if is_meant(viewer.seat)]:
            terminal.remove(viewer, reason)

    def _find(self, session: UUID) -> TerminalSession:
        for terminal in self._terminals():
            if terminal.id == session:
                return terminal
        raise Conflict("this terminal has ended")

    @staticmethod
    def _viewer(terminal: TerminalSession, viewer_id: str) -> Viewer:
        if (viewer := terminal.company.find(viewer_id)) is None:
            raise NotFound("nobody with this id is here any more")
        return viewer

    def _show_asking(self, terminal: TerminalSession) -> None:
        terminal.company.asking = self.lobby.waiting(terminal.id)
        terminal.company.tell()

    # As long as it lives

    def watch(self, row: Session, terminal: TerminalSession) -> None:
        """Put on record who joins and leaves this terminal, and who has its keyboard."""

        def note(news: News, viewer: Viewer, reason: str) -> None:
            self._own(self._write(row, news, viewer.seat, str(viewer.role), reason))

        terminal.witness = note

    def ended(self, session: UUID) -> None:
        """The terminal is over, and everybody's admission with it."""
        self.lobby.end(self.lobby.of(session=session))

    def tick(self) -> None:
        """Once a second or so: forget who asked and went."""
        left = self.lobby.tick()
        for terminal in self._terminals():
            if terminal.id in left:
                self._show_asking(terminal)

    async def judge(self) -> dict[str, str]:
        """Why each viewer, or who asks to be one, may not stay; for `dismiss`."""
        sittings = [
            Sitting(viewer.id, terminal.id, viewer.seat)
            for terminal in self._terminals()
            for viewer in terminal.viewers
            if viewer.seat.basis != NOTHING
        ]
        sittings += [Sitting(ask.id, ask.session, ask.seat) for ask in self.lobby.open]
        return await database_sync_to_async(judge_seats)(sittings) if sittings else {}

    def dismiss(self, reasons: dict[str, str]) -> None:
        """Send them away, but from terminals that are ending: these tell everybody their own reason."""
        for ask in [ask for ask in self.lobby.open if ask.id in reasons]:
            self.lobby.end([ask])
            self._tickets.forget(ask.session, _is_of(ask.seat.party))
        for terminal in self._terminals():
            if not terminal.is_ending:
                for viewer in [viewer for viewer in terminal.viewers if viewer.id in reasons]:
                    terminal.remove(viewer, reasons[viewer.id], Close.NOT_ALLOWED)
            if self.lobby.waiting(terminal.id) != terminal.company.asking:
                self._show_asking(terminal)

    async def _write(self, row: Session, news: News, seat: Seat, role: str, reason: str) -> None:
        try:
            await spool.keep(sessions.note_company, session_id=row.pk, news=news, seat=seat, role=role, reason=reason)
        except Exception:
            log.exception("not recorded who is in a terminal", session=str(row.pk), person=seat.name, news=news)


def _is_of(party: str) -> Callable[[Seat], bool]:
    return lambda seat: seat.party == party
