"""The websocket door: who gets in, with what, and what closes it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from websockets import InvalidStatus

from tests.story.broker import Broker
from tests.story.browser import Browser
from tests.story.hasty import TICKET_S
from tests.story.machine import Machine
from tests.story.terminal import Terminal, open_socket, reattach, request_session, request_ticket, shell

pytestmark = pytest.mark.sshd
ATTACH = {"type": "attach", "cols": 80, "rows": 24, "output_offset": None, "input_offset": None}


async def answer(broker: Broker, opened: dict[str, Any], *messages: str | bytes, **options: Any) -> tuple[int, str]:
    """Close code and reason after sending these messages, with TICKET replaced."""
    terminal = Terminal(await open_socket(opened["socket"], broker, **options))
    for message in messages:
        await terminal.socket.send(message.replace("TICKET", opened["ticket"]) if isinstance(message, str) else message)
    return await terminal.closed(), terminal.close_reason


def attach(**more: Any) -> str:
    return json.dumps({**ATTACH, "ticket": "TICKET", **more})


@pytest.mark.parametrize(
    ("origin", "subprotocols"),
    [
        (None, ["brokerd.terminal.v1"]),
        ("null", ["brokerd.terminal.v1"]),
        ("https://evil.example", ["brokerd.terminal.v1"]),
        ("http://127.0.0.1", ["brokerd.terminal.v1"]),
        ("own", ["chat"]),
        ("own", None),
    ],
    ids=["no origin", "null", "foreign", "other port", "other subprotocol", "no subprotocol"],
)
async def test_refused_before_accept(broker: Broker, web1: Machine, origin: str | None, subprotocols: list | None):
    opened = await request_session(broker, "web1")
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(opened["socket"], broker, origin=origin, subprotocols=subprotocols)
    assert refused.value.response.status_code == 403
    # The same ticket, from the portal's own page, is still good.
    terminal = Terminal(await open_socket(opened["socket"], broker))
    await terminal.attach(opened["ticket"])
    await terminal.close()
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{opened['id']}", None, "alice", 204)


async def test_an_unknown_path_is_refused(broker: Broker):
    for path in ("/ws/sessions/nonsense", "/ws/", "/"):
        with pytest.raises(InvalidStatus) as refused:
            await open_socket(f"ws://127.0.0.1:{broker.web_port}{path}", broker)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["{"], "a text message must be a JSON object"),
        (["[1]"], "a text message must be a JSON object"),
        (["[" * 5000], "a text message must be a JSON object"),
        (['{"type":"launch"}'], "unknown message type 'launch'"),
        (['{"type":"ack","offset":0}'], "the first message must be attach"),
        ([b"ls\r"], "the first message must be attach"),
        ([attach(cols=0)], "cols must be from 1 to 1000"),
        ([attach(cols=True)], "cols must be a whole number"),
        ([attach(rows=1001)], "rows must be from 1 to 1000"),
        ([attach(output_offset=-1)], "output_offset is out of range"),
        ([attach(output_offset=2**60)], "output_offset is out of range"),
        ([attach(output_offset=10**9)], "output_offset 1000000000 is beyond the end of the output"),
        ([json.dumps({**ATTACH, "ticket": 5})], "ticket must be text"),
        ([attach(), attach()], "attach was sent already"),
        ([attach(), '{"type":"ack","offset":"1"}'], "offset must be a whole number"),
        ([attach(), '{"type":"resize","cols":80}'], "rows must be a whole number"),
        ([attach(), "no JSON"], "a text message must be a JSON object"),
    ],
)
async def test_bad_messages(broker: Broker, web1: Machine, messages: list, reason: str):
    """The connection is closed with the reason; the terminal goes on."""
    opened = await request_session(broker, "web1")
    code, told = await answer(broker, opened, *messages)
    assert code == 4400
    assert told.startswith(reason)
    assert broker.session(opened["id"])["state"] == "live"
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{opened['id']}", None, "alice", 204)


async def test_a_watcher_does_not_type_and_its_size_does_not_count(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        watcher = await reattach(broker, terminal.id, role="watcher", cols=200, rows=50)
        assert (watcher.attached["role"], watcher.attached["cols"]) == ("watcher", 80)
        await terminal.run("echo $((6 * 7))")
        await watcher.until(b"42")
        await watcher.control("resize", cols=10, rows=10)
        await watcher.ping()
        assert "resized" not in [*watcher.kinds, *terminal.kinds]
        await watcher.send(b"exit\r")
        assert await watcher.closed() == 4400
        await terminal.ping()


async def test_tickets(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal, shell(broker, "web1") as other:
        first = await request_ticket(broker, terminal.id)
        for_other = await request_ticket(broker, other.id)
        bad = (4401, "this ticket is not valid (any more); open the terminal again")
        assert await answer(broker, {**first, "ticket": "nonsense"}, attach()) == bad
        assert await answer(broker, {**first, "ticket": for_other["ticket"]}, attach()) == bad
        assert await answer(broker, for_other, attach()) == bad  # shown at the wrong door, it is used up
        again = Terminal(await open_socket(first["socket"], broker))
        await again.attach(first["ticket"])
        assert await terminal.closed() == 4409
        assert await answer(broker, first, attach()) == bad
        await again.close()


async def test_who_comes_without_a_ticket_leaves_no_line_in_the_log(broker: Broker, web1: Machine):
    """They could fill the disk with as many as they like."""
    async with shell(broker, "web1") as terminal:
        door = {**await request_ticket(broker, terminal.id), "ticket": "nonsense"}
        before = broker.log.stat().st_size
        for _ in range(5):
            assert (await answer(broker, door, attach()))[0] == 4401
        assert terminal.id.encode() not in broker.log.read_bytes()[before:]


async def test_a_ticket_is_for_sessions_that_are_there(broker: Broker, web1: Machine):
    opened = await request_session(broker, "web1")
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{opened['id']}", None, "alice", 204)
    terminal = Terminal(await open_socket(opened["socket"], broker))
    await terminal.control("attach", **{**ATTACH, "ticket": opened["ticket"]})
    assert await terminal.closed() in (1000, 4404)
    refused = broker.call("POST", f"/api/v1/sessions/{opened['id']}/tickets", {"role": "driver"}, "alice")
    assert refused.status == 409
    assert broker.call("POST", f"/api/v1/sessions/{uuid4()}/tickets", {}, "alice").status == 404


async def test_a_ticket_with_the_cookie_of_another_person(broker: Broker, web1: Machine):
    alices, bobs = Browser(broker).log_in("alice"), Browser(broker).log_in("bob")
    async with shell(broker, "web1") as terminal:
        stolen = await request_ticket(broker, terminal.id)
        code, _ = await answer(broker, stolen, attach(), additional_headers={"Cookie": bobs.cookie})
        assert code == 4401
        own = await request_ticket(broker, terminal.id)
        again = Terminal(await open_socket(own["socket"], broker, additional_headers={"Cookie": alices.cookie}))
        await again.attach(own["ticket"])
        await again.close()


async def test_only_the_owner_gets_tickets(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        path = f"/api/v1/sessions/{terminal.id}/tickets"
        asked = {person: broker.call("POST", path, {}, person).status for person in ("bob", "charlie", "admin")}
        assert asked == {"bob": 404, "charlie": 404, "admin": 403}
        assert broker.call("POST", path, {}).status == 401
        assert broker.call("POST", path, {}, "alice").status == 200


async def test_one_who_waits_too_long(hasty_broker: Broker, hasty1: Machine):
    """Both at once: a socket on which nothing is said, and a ticket that is shown too late."""
    opened = await request_session(hasty_broker, "hasty1")
    silent = Terminal(await open_socket(opened["socket"], hasty_broker))
    assert await silent.closed() == 4408
    assert silent.close_reason == f"attach was not sent within {TICKET_S} s"
    code, _ = await answer(hasty_broker, opened, attach())
    assert code == 4401
