"""`terminals.consumer`: the door of one websocket, with the messages of a browser and without its socket."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from terminals import consumer, live
from terminals.limits import Limits
from terminals.protocol import INPUT_WINDOW, SUBPROTOCOL, Role
from terminals.seats import owner_seat
from terminals.session import TerminalSession
from terminals.tickets import TicketBook
from tests.core.waiting import PATIENCE_S, until
from tests.core.wires import FakeWire

ORIGIN = "http://localhost:8000"


class Browser:
    """Everything that a websocket brings to the consumer."""

    def __init__(
        self, session_id: UUID, *, origin: str | None = ORIGIN, user: str | None = None, protocols=(SUBPROTOCOL,)
    ):
        self.wire = FakeWire()
        self.sent: list[dict] = []
        self.incoming: asyncio.Queue[dict] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.scope = {
            "type": "websocket",
            "path": f"/ws/sessions/{session_id}",
            "headers": [(b"origin", origin.encode())] if origin is not None else [],
            "subprotocols": list(protocols),
            "url_route": {"kwargs": {"session_id": session_id}},
            "user": SimpleNamespace(is_authenticated=user is not None, get_username=lambda: user),
            "brokerd.wire": self.wire,
        }

    async def _send(self, message: dict) -> None:
        self.sent.append(message)

    async def run(self) -> None:
        await asyncio.wait_for(consumer.terminal_consumer(self.scope, self.incoming.get, self._send), PATIENCE_S)

    def text(self, kind: str, **fields) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": kind, **fields})})

    def attach(self, ticket: str, **more) -> None:
        self.text("attach", **{"ticket": ticket, "cols": 80, "rows": 24, **more})

    def type(self, data: bytes) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def go(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})


@pytest.fixture
async def terminals(monkeypatch):
    """One live terminal of alice's."""
    terminal = TerminalSession(uuid4(), "alice", 80, 24, Limits(grace_s=60, idle_s=0, longest_s=0))
    held = {terminal.id: terminal}
    fake = SimpleNamespace(tickets=TicketBook(), find=held.get, get=held.get, attached=lambda it: None, only=terminal)
    monkeypatch.setattr(live, "_current", fake)
    return fake


@pytest.fixture
def terminal(terminals) -> TerminalSession:
    return terminals.only


@pytest.fixture
def ticket(terminals, terminal):
    return lambda role=Role.DRIVER: terminals.tickets.mint(session=terminal.id, seat=owner_seat("alice"), role=role)


@pytest.mark.parametrize(
    "origin", [None, "null", "", "https://evil.example", "http://localhost:8000.evil.example", "http://localhost", "*"]
)
async def test_only_the_portals_own_pages(terminal, ticket, origin):
    browser = Browser(terminal.id, origin=origin)
    browser.attach(ticket())
    await browser.run()
    assert browser.sent == [{"type": "websocket.close"}] and browser.wire.closed is None


async def test_two_origins_are_none(terminal, ticket):
    browser = Browser(terminal.id)
    browser.scope["headers"] *= 2
    await browser.run()
    assert browser.sent == [{"type": "websocket.close"}]


async def test_the_subprotocol_must_be_asked_for(terminal):
    browser = Browser(terminal.id, protocols=["something.else"])
    await browser.run()
    assert browser.sent == [{"type": "websocket.close"}]


async def test_attached_typed_and_gone(terminal, ticket):
    browser = Browser(terminal.id)
    browser.attach(ticket())
    browser.type(b"ls\r")
    browser.text("resize", cols=100, rows=30)
    browser.text("ping", t=5)
    browser.text("interrupt")
    browser.text("stay")
    browser.go()
    await browser.run()
    assert browser.sent == [{"type": "websocket.accept", "subprotocol": SUBPROTOCOL}]
    assert browser.wire.kinds == ["attached", "resized", "pong"]
    assert terminal._keyboard._early == b"ls\r\x03" and (terminal.cols, terminal.rows) == (100, 30)
    assert terminal.viewers == [] and browser.wire.on_writable is None and browser.wire.closed is None


async def closed(browser: Browser) -> tuple[int, str]:
    await browser.run()
    assert browser.wire.of("closing")[-1]["reason"] == browser.wire.closed[1]
    return browser.wire.closed


@pytest.mark.parametrize("user", [None, "alice"])
async def test_a_ticket_opens_once_with_or_without_its_persons_login(terminal, ticket, user):
    secret = ticket()
    for expected in (None, 4401):
        browser = Browser(terminal.id, user=user)
        browser.attach(secret)
        browser.go()
        await browser.run()
        assert (browser.wire.closed or (None,))[0] == expected


async def test_a_ticket_of_somebody_else(terminal, ticket):
    browser = Browser(terminal.id, user="bob")
    browser.attach(ticket())
    assert (await closed(browser))[0] == 4401
    assert terminal.viewers == []


async def test_a_ticket_for_another_terminal(terminals, terminal):
    browser = Browser(terminal.id)
    browser.attach(terminals.tickets.mint(session=uuid4(), seat=owner_seat("alice"), role=Role.DRIVER))
    assert (await closed(browser))[0] == 4401


async def test_a_terminal_that_has_ended(terminals):
    gone = uuid4()
    browser = Browser(gone)
    browser.attach(terminals.tickets.mint(session=gone, seat=owner_seat("alice"), role=Role.DRIVER))
    assert await closed(browser) == (4404, "this terminal has ended")


async def test_attach_must_come_in_time(terminal, monkeypatch):
    monkeypatch.setattr(consumer, "ATTACH_TIMEOUT_S", 0.05)
    assert (await closed(Browser(terminal.id)))[0] == 4408


@pytest.mark.parametrize(
    "first", [{"text": "nonsense"}, {"text": '{"type":"ping","t":1}'}, {"bytes": b"ls\r"}, {"bytes": b""}]
)
async def test_the_first_message_must_be_attach(terminal, first):
    browser = Browser(terminal.id)
    browser.incoming.put_nowait({"type": "websocket.receive", **first})
    assert (await closed(browser))[0] == 4400


@pytest.mark.parametrize(
    "second",
    [
        {"text": "{}"},
        {"text": '{"type":"ack","offset":1}'},
        {"text": '{"type":"attach","ticket":"x","cols":1,"rows":1}'},
        {"bytes": bytes(INPUT_WINDOW + 1)},
    ],
)
async def test_nonsense_later_ends_this_browser_and_not_the_terminal(terminal, ticket, second):
    browser = Browser(terminal.id)
    browser.attach(ticket())
    browser.incoming.put_nowait({"type": "websocket.receive", **second})
    assert (await closed(browser))[0] == 4400
    assert terminal.viewers == [] and not terminal._stop.done()


async def test_a_watcher_that_types(terminal, ticket):
    browser = Browser(terminal.id)
    browser.attach(ticket(Role.WATCHER))
    browser.type(b"x")
    assert (await closed(browser))[0] == 4400


async def test_who_was_taken_over_types_no_more(terminal, ticket):
    """Its keys may be on their way still when another window takes the terminal."""
    first, second = Browser(terminal.id), Browser(terminal.id)
    first.attach(ticket())
    second.attach(ticket())
    running = [asyncio.create_task(first.run())]
    await until(lambda: first.wire.of("attached"))
    running.append(asyncio.create_task(second.run()))
    await until(lambda: first.wire.closed)
    first.type(b"rm -rf /\r")
    first.text("resize", cols=1, rows=1)
    second.type(b"ls\r")
    await until(lambda: terminal._keyboard._early)
    for browser in (first, second):
        browser.go()
    await asyncio.gather(*running)
    assert terminal._keyboard._early == b"ls\r" and first.wire.closed[0] == 4409
    assert (terminal.cols, terminal.rows) == (80, 24)


async def test_a_failure_of_ours_is_logged_and_closes_this_browser(terminal, ticket, monkeypatch, caplog):
    monkeypatch.setattr(terminal, "attach", lambda *args, **facts: 1 / 0)
    browser = Browser(terminal.id)
    browser.attach(ticket())
    await browser.run()
    assert browser.wire.closed == (1011, "internal error")
    assert "websocket failed" in caplog.text


async def test_cancelled_it_lets_go_of_the_terminal(terminal, ticket):
    browser = Browser(terminal.id)
    browser.attach(ticket())
    task = asyncio.create_task(browser.run())
    await until(lambda: terminal.viewers)
    task.cancel()
    await asyncio.wait({task})
    assert terminal.viewers == [] and terminal.unattended_since is not None
