"""A program that ends while nobody looks: who comes back sees its last output and how it ended; nobody else does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.story.broker import Broker, soon
from tests.story.machine import PROMPT, Machine, terminal_grant
from tests.story.terminal import Terminal, open_socket, open_terminal, reattach, request_ticket, shell

pytestmark = pytest.mark.sshd
TRIES = 20
"""Half a second apart: by then a right that was taken is gone."""


async def ended_alone(
    broker: Broker, host: str, folder: Path, command: str = "echo the last wo''rds; exit 3"
) -> Terminal:
    """A terminal that nobody was attached to when its program ended."""
    terminal = await open_terminal(broker, host)
    await terminal.until(b"story$ ")
    go = folder / f"go-{terminal.id}"
    await terminal.run(f"stty -echo; printf 'RE''ADY\\n'; until [ -e {go} ]; do sleep 0.05; done; {command}")
    await terminal.until(b"READY")
    await left(broker, terminal)
    go.touch()
    await soon(lambda: broker.session(terminal.id)["state"] == "ended", "the program has ended")
    return terminal


async def left(broker: Broker, terminal: Terminal) -> None:
    """Nobody is attached any more, and the broker knows."""
    await terminal.drop()
    await soon(lambda: broker.session(terminal.id)["viewers"] == 0, "nobody looks")


async def ask(broker: Broker, terminal: Terminal, person: str) -> int:
    """Status of the request for a ticket."""
    path = f"/api/v1/sessions/{terminal.id}/tickets"
    return (await asyncio.to_thread(broker.call, "POST", path, {"role": "driver"}, person)).status


async def refused(broker: Broker, terminal: Terminal) -> None:
    """Soon there are no more tickets for its owner either."""
    path = f"/api/v1/sessions/{terminal.id}/tickets"
    await soon(lambda: broker.call("POST", path, {"role": "driver"}, "alice").status == 409, "it is gone")


async def test_its_last_words(broker: Broker, web1: Machine, tmp_path: Path):
    """By whoever goes on where he was, and by a new browser; more than once."""
    gone = await ended_alone(broker, "web1", tmp_path)
    for offset, kinds in ((gone.offset, ["attached"]), (None, ["attached", "replay"])):
        again = await reattach(broker, gone.id, output_offset=offset)
        assert await again.closed() == 1000
        assert b"the last words\r\n" in again.output
        assert [kind for kind in again.kinds if kind != "viewers"] == [*kinds, "exit", "closing"]
        assert again.messages[-2] == {"type": "exit", "status": 3}
        assert again.close_reason == "the program ended with status 3"
        assert again.output.startswith(gone.output) is (offset is None)


async def test_the_end_of_much_output(broker: Broker, web1: Machine, tmp_path: Path):
    gone = await ended_alone(broker, "web1", tmp_path, "exec seq 400000")
    again = await reattach(broker, gone.id, output_offset=gone.offset)
    assert await again.closed() == 1000
    [gap] = [message for message in again.messages if message["type"] == "gap"]
    assert (gap["from"], gap["to"]) == (gone.offset, again.attached["output_offset"])
    lines = bytes(again.output).partition(b"\n")[2].split()
    assert lines[-1] == b"400000"
    assert [int(line) for line in lines] == list(range(400001 - len(lines), 400001))


async def test_nobody_else_sees_them(broker: Broker, fresh: Machine, tmp_path: Path):
    fresh.bring_up(terminal_grant("alice"), terminal_grant("bob"))
    gone = await ended_alone(broker, fresh.name, tmp_path)
    asked = {person: await ask(broker, gone, person) for person in ("bob", "charlie", "admin", "auditor")}
    assert asked == {"bob": 404, "charlie": 404, "admin": 403, "auditor": 403}
    assert await ask(broker, gone, "alice") == 200


async def test_not_once_the_grant_is_revoked(broker: Broker, fresh: Machine, tmp_path: Path):
    """Not even with a ticket from before."""
    fresh.bring_up(terminal_grant("alice"))
    gone = await ended_alone(broker, fresh.name, tmp_path)
    tickets = [await request_ticket(broker, gone.id) for _ in range(TRIES)]
    witness = await open_terminal(broker, fresh.name)
    await witness.until(PROMPT)
    [grant] = broker.api("GET", f"/grants?host={fresh.name}&person=alice")["items"]
    await asyncio.to_thread(broker.api, "DELETE", f"/grants/{grant['id']}", None, "admin", 204)
    assert await witness.closed() == 4403
    assert await ask(broker, gone, "alice") in (403, 404, 409)
    for ticket in tickets:  # which terminals a round ends first, and when it comes to those that are over, is its own
        code, output = await shown(broker, ticket)
        if code != 1000:
            break
        await asyncio.sleep(0.5)
    assert code in (4401, 4403, 4404)
    assert b"last words" not in output


async def shown(broker: Broker, ticket: dict[str, Any]) -> tuple[int, bytes]:
    """Close code and output for who comes with this ticket."""
    terminal = Terminal(await open_socket(ticket["socket"], broker))
    await terminal.control("attach", ticket=ticket["ticket"], cols=80, rows=24, output_offset=None, input_offset=None)
    return await terminal.closed(), bytes(terminal.output)


async def test_not_when_somebody_ended_it(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        await terminal.drop()
        await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "admin", 204)
        await refused(broker, terminal)


async def test_not_for_longer_than_the_grace(hasty_broker: Broker, hasty1: Machine, tmp_path: Path):
    gone = await ended_alone(hasty_broker, "hasty1", tmp_path)
    assert await ask(hasty_broker, gone, "alice") == 200
    await refused(hasty_broker, gone)


async def test_the_way_to_the_host_is_lost_while_nobody_looks(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant("alice"))
    terminal = await open_terminal(broker, fresh.name)
    await terminal.until(b"story$ ")
    await terminal.run("echo the last wo''rds")
    await terminal.until(b"the last words")
    await left(broker, terminal)
    fresh.stop_agents()
    await soon(lambda: broker.session(terminal.id)["state"] == "ended", "the tunnel is lost")
    again = await reattach(broker, terminal.id)
    assert await again.closed() == 4412
    assert b"the last words" in again.output
    assert f"the tunnel of {fresh.name} was lost" in again.close_reason
