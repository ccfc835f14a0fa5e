"""How long a terminal may wait, stay idle and last, as its grant says it: announced, and told where it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.story.broker import Broker, soon
from tests.story.conftest import HASTY
from tests.story.machine import LOGIN, PROMPT, Machine
from tests.story.terminal import Terminal, open_terminal, reattach

pytestmark = pytest.mark.sshd


@asynccontextmanager
async def granted(broker: Broker, host: Machine, person: str, **limits: int) -> AsyncIterator[Terminal]:
    """A terminal at its prompt by a grant with these limits."""
    body = {"person": person, "host": host.name, "logins": [LOGIN], "capabilities": ["terminal"], **limits}
    grant = await asyncio.to_thread(broker.api, "POST", "/grants", body, "admin", 201)
    terminal = await open_terminal(broker, host.name, person=person)
    try:
        await terminal.until(PROMPT)
        yield terminal
    finally:
        await terminal.close()
        await asyncio.to_thread(broker.api, "DELETE", f"/grants/{grant['id']}", None, "admin", 204)


def warnings(terminal: Terminal) -> list[tuple[str, Any]]:
    return [(message["kind"], message["in_s"]) for message in terminal.messages if message["type"] == "limit"]


async def told(broker: Broker, session: str, reason: str) -> None:
    """Row and audit say why it ended."""
    row = await asyncio.to_thread(broker.ended, session)
    assert row["reason"] == reason
    path = f"/audit?event=session.ended&session={session}"
    [event] = (await asyncio.to_thread(broker.api, "GET", path, None, "auditor"))["items"]
    assert event["detail"]["reason"] == reason


# Each of these waits; they do so at once, with a person each.


async def test_limits_of_grants(stern_broker: Broker, stern1: Machine, hasty_broker: Broker, hasty1: Machine):
    async with asyncio.TaskGroup() as tasks:
        for scenario in (idle_and_stay, idle_and_a_key, longest, grace, only_its_own):
            tasks.create_task(scenario(stern_broker, stern1), name=scenario.__name__)
        tasks.create_task(tighter_only(hasty_broker, hasty1))


async def idle_and_stay(broker: Broker, host: Machine) -> None:
    """Announced with a countdown; to say `stay` withdraws it and types nothing."""
    async with granted(broker, host, "bob", idle=6) as terminal:
        typed = terminal.input_acked
        countdown = await terminal.until_message("limit")
        assert countdown["kind"] == "idle" and 0 < countdown["in_s"] <= 3
        await terminal.control("stay")
        await terminal.wait(lambda: warnings(terminal)[1:2] == [("idle", None)], "it is withdrawn")
        assert await terminal.closed() == 4411
        assert [in_s is None for _, in_s in warnings(terminal)] == [False, True, False]
        assert terminal.close_reason == "nothing was typed for 6 s"
        assert terminal.messages[-1]["type"] == "closing"
        assert terminal.input_acked == typed
        await told(broker, terminal.id, "nothing was typed for 6 s")


async def idle_and_a_key(broker: Broker, host: Machine) -> None:
    async with granted(broker, host, "charlie", idle=6) as terminal:
        await terminal.until_message("limit")
        await terminal.send(b" ")
        await terminal.wait(lambda: ("idle", None) in warnings(terminal), "it is withdrawn")


async def longest(broker: Broker, host: Machine) -> None:
    """It is announced, and neither `stay` nor typing helps."""
    async with granted(broker, host, "dora", longest=6) as terminal:
        await terminal.until_message("limit")
        await terminal.control("stay")
        await terminal.run("echo still here")
        assert await terminal.closed() == 4411
        [(kind, in_s)] = warnings(terminal)
        assert kind == "longest" and 0 < in_s <= 3
        reason = "it reached the longest time that is allowed, 6 s"
        assert terminal.close_reason == reason
        await told(broker, terminal.id, reason)


async def grace(broker: Broker, host: Machine) -> None:
    """It is told at the attach, begins when the browser goes, and stops when it comes back."""
    async with granted(broker, host, "auditor", grace=5) as terminal:
        assert terminal.attached["grace"] == 5
        await terminal.drop()
        await asyncio.sleep(1)
        again = await reattach(broker, terminal.id, "auditor", output_offset=terminal.offset)
        await asyncio.sleep(5)
        await again.ping()
        await again.drop()
        await soon(lambda: broker.session(terminal.id)["state"] == "ended", "the grace is over")
        await told(broker, terminal.id, "nobody came back within 5 s")
        path = f"/api/v1/sessions/{terminal.id}/tickets"
        refused = await asyncio.to_thread(broker.call, "POST", path, {"role": "driver"}, "auditor")
        assert refused.status == 409


async def only_its_own(broker: Broker, host: Machine) -> None:
    """The limits of one grant leave other people alone."""
    async with granted(broker, host, "admin", longest=6) as short:
        alices = await open_terminal(broker, host.name)
        assert alices.attached["grace"] == 600
        assert await short.closed() == 4411
        await alices.run("exit")
        assert await alices.closed() == 1000
        assert warnings(alices) == []


async def tighter_only(broker: Broker, host: Machine) -> None:
    """A grant does not loosen what the node sets."""
    async with granted(broker, host, "bob", grace=60, idle=60, longest=60) as terminal:
        assert terminal.attached["grace"] == int(HASTY["BROKERD_SESSION_GRACE"])
        assert await terminal.closed() == 4411
        assert terminal.close_reason == f"nothing was typed for {HASTY['BROKERD_IDLE_TIMEOUT']} s"
