"""Those who stop: a browser that takes nothing any more, and a program that reads nothing."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import pytest

from tests.story.broker import Broker, soon
from tests.story.hasty import STALL_S
from tests.story.machine import Machine
from tests.story.rude import rude
from tests.story.terminal import Terminal, reattach, request_ticket, shell

pytestmark = pytest.mark.sshd
MOST = 4 * 1024 * 1024
SSHD_WINDOW = 2 * 1024 * 1024
"""So much OpenSSH's server takes for a program that does not read."""
PASTE = random.Random(5).randbytes(10 * 1024 * 1024)


async def floods(terminal: Terminal) -> None:
    """`yes` runs; the broker is warm from what it has sent already."""
    await terminal.run("yes")
    await terminal.wait(lambda: len(terminal.output) > MOST, "a flood")


async def test_a_browser_that_stops_acknowledging(stern_broker: Broker, stern1: Machine):
    """It is dropped, and comes back to where it was."""
    async with shell(stern_broker, "stern1") as terminal:
        await floods(terminal)
        before = stern_broker.rss()
        terminal.acks = False
        assert await terminal.closed(STALL_S + 30) == 4414
        assert terminal.close_reason == "this browser took nothing for a minute"
        assert stern_broker.rss() - before < MOST
        row = await asyncio.to_thread(stern_broker.session, terminal.id)
        assert (row["state"], row["viewers"]) == ("live", 0)
        # Since then nobody holds the host back: what the ring has lost is told, the rest goes on.
        lost = terminal.offset + 3 * 1024 * 1024
        await soon(lambda: stern_broker.session(terminal.id)["bytes_out"] > lost, "the ring has moved on")
        again = await reattach(stern_broker, terminal.id, output_offset=terminal.offset)
        gap = await again.until_message("gap")
        assert (gap["from"], gap["to"]) == (terminal.offset, again.attached["output_offset"])
        await again.wait(lambda: len(again.output) > MOST, "the flood goes on")
        assert again.close_code is None
        await again.close()


async def test_what_it_had_not_taken_is_not_lost(stern_broker: Broker, stern1: Machine):
    """The program has printed little more than the window: all of it is still there."""
    async with shell(stern_broker, "stern1") as terminal:
        await terminal.run("stty -echo -opost; printf 'BE''GIN'; seq 100000; exec sleep 1000")
        await terminal.until(b"BEGIN")
        terminal.acks = False
        assert await terminal.closed(STALL_S + 30) == 4414
        again = await reattach(stern_broker, terminal.id, output_offset=terminal.offset)
        await again.until(b"\n100000\n")
        shown = (terminal.output + again.output).partition(b"BEGIN")[2]
        assert shown == "".join(f"{number}\n" for number in range(1, 100001)).encode()
        await again.close()


async def test_a_browser_that_does_not_even_read(stern_broker: Broker, stern1: Machine):
    async with shell(stern_broker, "stern1") as terminal:
        await floods(terminal)
        ticket = await request_ticket(stern_broker, terminal.id)
        before = stern_broker.rss()
        with rude(stern_broker, terminal.id) as client:
            client.attach(ticket["ticket"])
            await soon(lambda: stern_broker.session(terminal.id)["viewers"] == 0, "it is dropped")
            assert stern_broker.rss() - before < MOST
        again = await reattach(stern_broker, terminal.id)
        await again.wait(lambda: len(again.output) > MOST, "the flood goes on")
        await again.close()


async def test_10_mb_for_a_program_that_does_not_read_yet(broker: Broker, web1: Machine, tmp_path: Path):
    """It waits with the browser, not with the broker, and arrives when the program reads at last."""
    async with shell(broker, "web1") as terminal:
        await terminal.run(
            f"stty raw -echo; printf 'BE''GIN'; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; "
            f"head -c {len(PASTE)} | sha256sum; stty sane"
        )
        await terminal.until(b"BEGIN")
        begin, before = terminal.input_acked, broker.rss()
        pasting = asyncio.create_task(terminal.paste(PASTE))
        acked = [-1]

        async def is_still() -> bool:
            await terminal.ping()
            acked.append(terminal.input_acked)
            return len(acked) > 10 and len(set(acked[-10:])) == 1

        while not await is_still():
            await asyncio.sleep(0.1)
        assert terminal.input_acked - begin < SSHD_WINDOW + 1024 * 1024, "the browser is told nothing more"
        assert broker.rss() - before < MOST
        row = await asyncio.to_thread(broker.session, terminal.id)
        assert row["state"] == "live"
        (tmp_path / "go").touch()
        await pasting
        await terminal.until(hashlib.sha256(PASTE).hexdigest().encode(), 60)
        assert broker.rss() - before < MOST
