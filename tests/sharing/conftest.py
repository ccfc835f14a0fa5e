"""Live terminals of a node without their hosts: what REST, tickets and re-checks make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Thread
from uuid import UUID

import pytest

from terminals import live
from terminals.api import guessing
from terminals.live import LiveTerminals
from terminals.models import Grant, Person, Session
from terminals.protocol import Role
from terminals.seats import owner_seat
from terminals.session import TerminalSession
from terminals.tickets import Ticket
from terminals.viewer import Viewer
from tests.core.rows import give, session_row
from tests.core.wires import FakeWire
from tests.people.helpers import Api, make_host
from tests.sharing.people import LIMITS
from tunnels.models import Host
from tunnels.registry import TunnelRegistry


class House:
    """The node's loop runs in a thread of its own, as the portal's requests see it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self.terminals = self.do(self._open())
        live.install(self.terminals)

    async def _open(self) -> LiveTerminals:
        return await LiveTerminals(node="node-1", registry=TunnelRegistry(), limits=LIMITS).__aenter__()

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def open(self, row: Session) -> TerminalSession:
        """The terminal of a row, which never dials."""

        def begin() -> TerminalSession:
            terminal = TerminalSession(row.pk, row.person.username, 80, 24, LIMITS)
            self.terminals.reception.watch(row, terminal)
            self.terminals._terminals[row.pk] = terminal
            return terminal

        return self.terminals.call(begin)

    def attach(self, session: UUID, ticket: str) -> Viewer:
        """As the websocket does it."""

        def join() -> Viewer:
            found = self.terminals.tickets.redeem(ticket, session=session)
            assert isinstance(found, Ticket), "the ticket opens nothing"
            it = Viewer(FakeWire(), found.seat, found.role)
            self.terminals.get(session).attach(it, cols=80, rows=24, output_offset=None)
            return it

        joined = self.terminals.call(join)
        self.terminals.call(lambda: None)  # a turn later everybody is told
        return joined

    def enter(self, api: Api, session: UUID, role: str = "watcher", **body: str) -> Viewer:
        """Get a ticket and attach."""
        answer = api.post(f"/sessions/{session}/tickets", {"role": role, **body})
        assert answer.status_code == 200, answer.content
        return self.attach(session, answer.json()["ticket"])

    def recheck(self) -> None:
        async def recheck() -> None:
            self.terminals.reception.dismiss(await self.terminals.reception.judge())

        self.do(recheck())

    def settle(self) -> None:
        """What has happened is written down."""

        async def wait() -> None:
            while tasks := self.terminals._tasks:
                await asyncio.wait(tasks)

        self.do(wait())

    def close(self) -> None:
        live.install(None)
        self.settle()
        self.terminals.call(self.terminals._ticker.cancel)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def house(transactional_db) -> Iterator[House]:
    for throttle in (guessing.asked, guessing.shown):
        throttle.clear()
    it = House()
    yield it
    it.close()


@pytest.fixture
def web1(transactional_db) -> Host:
    return make_host("web1", online=True)


@pytest.fixture
def grant(alice: Person, web1: Host) -> Grant:
    return give(alice, web1, capabilities=["terminal", "share"])


@pytest.fixture
def row(alice: Person, web1: Host, grant: Grant) -> Session:
    return session_row(alice, web1)


@pytest.fixture
def terminal(house: House, row: Session) -> TerminalSession:
    return house.open(row)


@pytest.fixture
def alices(house: House, terminal: TerminalSession) -> Viewer:
    """alice's own window, with the keyboard."""
    ticket = house.terminals.mint(session=terminal.id, seat=owner_seat("alice"), role=Role.DRIVER)
    return house.attach(terminal.id, ticket)
