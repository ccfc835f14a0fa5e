"""What a client that does not keep to the rules can make the broker hold: next to nothing, whatever runs on the host.

A host that floods (`yes`) would fill the broker's memory if anything on the way to a browser buffered without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from websockets import ConnectionClosed

from tests.story.broker import Broker, soon
from tests.story.machine import Machine
from tests.story.rude import PING, TEXT, Rude, rude
from tests.story.terminal import Terminal, open_socket, request_session, shell

pytestmark = pytest.mark.sshd
MOST = 4 * 1024 * 1024
LONG_PING = b'{"type":"ping","t":' + b"9" * 4000 + b"}"


@pytest.fixture
async def flood(broker: Broker, web1: Machine) -> AsyncIterator[tuple[str, str]]:
    """Session and a driver's ticket of a terminal in which `yes` runs; the process is warm from floods before."""
    async with shell(broker, "web1") as terminal:
        await terminal.run("yes")
        await terminal.wait(lambda: len(terminal.output) > 4 * 1024 * 1024, "a flood")
        ticket = await asyncio.to_thread(
            broker.api, "POST", f"/sessions/{terminal.id}/tickets", {"role": "driver"}, "alice"
        )
        yield terminal.id, ticket["ticket"]


async def stalled(broker: Broker, session: str, act: Callable[[], object] = lambda: None) -> int:
    """The output offset at which the flood has come to a halt: the same in many looks while `act` goes on."""
    seen: list[int] = []

    def is_still() -> bool:
        act()
        seen.append(broker.session(session)["bytes_out"])
        return len(seen) > 12 and len(set(seen[-12:])) == 1

    await soon(is_still, f"the flood halts: {seen[-5:]}")
    return seen[-1]


async def test_a_client_that_never_reads(broker: Broker, flood: tuple[str, str]):
    session, ticket = flood
    before = broker.rss()
    with rude(broker, session) as client:
        client.attach(ticket)
        await stalled(broker, session)
        assert broker.rss() - before < MOST


async def test_a_client_that_acknowledges_what_it_did_not_read(broker: Broker, flood: tuple[str, str]):
    """Guessed acks get through while they are right. Since nothing is read, little is sent, and soon one is wrong."""
    session, ticket = flood
    before = broker.rss()
    with rude(broker, session) as client:
        client.attach(ticket)
        base = max(0, broker.session(session)["bytes_out"] - 2 * 1024 * 1024)
        guesses = iter(range(base, 2**40, 16 * 1024))

        def guess() -> bool:
            with contextlib.suppress(OSError):
                for _ in range(10):
                    client.control("ack", offset=next(guesses))
            return broker.session(session)["viewers"] == 0

        await soon(guess, "a guess was wrong")
        assert broker.rss() - before < MOST
        refusals = [line for line in broker.log.read_text().splitlines() if "is beyond what was sent" in line]
        assert any(session in line for line in refusals)


async def test_a_client_that_reads_and_then_stops(broker: Broker, flood: tuple[str, str]):
    session, ticket = flood
    before = broker.rss()
    terminal = Terminal(
        await open_socket(broker.url.replace("http", "ws") + f"/ws/sessions/{session}", broker), session
    )
    await terminal.attach(ticket)
    await terminal.wait(lambda: len(terminal.output) > 4 * 1024 * 1024, "honest reading")
    terminal.socket.transport.pause_reading()
    await stalled(broker, session)
    assert broker.rss() - before < MOST
    terminal.socket.transport.abort()


async def test_pings_whose_answers_are_not_read(broker: Broker, flood: tuple[str, str]):
    """Websocket pings are answered by the protocol itself, past the terminal's own bounds."""
    session, ticket = flood
    before = broker.rss()
    with rude(broker, session) as client:
        client.attach(ticket)
        await stalled(broker, session)
        await asyncio.to_thread(flood_with_pings, client)
        await asyncio.to_thread(broker.call, "GET", "/healthz")
        assert broker.rss() - before < MOST


def flood_with_pings(client: Rude) -> None:
    """20 MB of answers, if each were kept."""
    with contextlib.suppress(OSError):
        for _ in range(500):
            client.frames(PING, bytes(125), 320)


async def test_questions_whose_answers_are_not_read(broker: Broker, flood: tuple[str, str]):
    session, ticket = flood
    before = broker.rss()
    with rude(broker, session) as client:
        client.attach(ticket)
        await stalled(broker, session)

        def ask() -> bool:
            with contextlib.suppress(OSError):
                client.frames(TEXT, LONG_PING, 200)
            return broker.session(session)["viewers"] == 0

        await soon(ask, "it was cut")
        assert broker.rss() - before < MOST


async def test_input_before_the_shell_is_there(broker: Broker, fresh: Machine):
    """The host accepts and says nothing: what is typed meanwhile waits, within the input window."""
    fresh.request()
    fresh.approve({"person": "alice", "logins": ["root"]})
    with socket.create_server(("127.0.0.1", fresh.port)):
        fresh.start_agent()
        await soon(lambda: broker.is_online(fresh.name), "online")
        opened = await request_session(broker, fresh.name, "root")
        terminal = Terminal(await open_socket(opened["socket"], broker))
        await terminal.attach(opened["ticket"])
        before = broker.rss()
        with contextlib.suppress(ConnectionClosed):
            for _ in range(640):
                await terminal.send(bytes(32 * 1024))
        assert await terminal.closed() == 4400
        assert "unacknowledged input" in terminal.close_reason
        assert broker.rss() - before < MOST
        await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{opened['id']}", None, "alice", 204)
