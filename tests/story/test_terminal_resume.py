"""A browser that goes and comes back: nothing lost, nothing twice, and the last one to come drives."""

from __future__ import annotations

import asyncio

import pytest

from tests.story.broker import Broker, soon
from tests.story.machine import Machine
from tests.story.terminal import open_terminal, reattach, shell

pytestmark = pytest.mark.sshd
COUNT = "stty -echo -opost; printf 'BE''GIN'; seq 150000; exec sleep 1000"
COUNTED = "".join(f"{number}\n" for number in range(1, 150001)).encode()
"""About 1 MB: less than the ring, more than the window."""


async def test_reattach_where_it_stopped(broker: Broker, web1: Machine):
    """Cut several times in the middle of a flood; the pieces together are what the program wrote."""
    terminal = await open_terminal(broker, "web1")
    pieces = bytearray()
    await terminal.run(COUNT)
    for _ in range(4):
        await terminal.wait(lambda seen=terminal: len(seen.output) > 150_000, "some output")
        await terminal.drop()
        pieces += terminal.output
        offset = terminal.offset
        terminal = await reattach(broker, terminal.id, output_offset=offset)
        assert terminal.attached["output_offset"] == offset
        assert "gap" not in terminal.kinds
        assert "replay" not in terminal.kinds
    await terminal.until(b"\n150000\n")
    pieces += terminal.output
    assert pieces.partition(b"BEGIN")[2] == COUNTED
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "alice", 204)
    assert await terminal.closed() == 1000


async def test_the_program_goes_on_while_nobody_looks(broker: Broker, web1: Machine):
    terminal = await open_terminal(broker, "web1")
    await terminal.drop()
    await soon(lambda: broker.session(terminal.id)["viewers"] == 0, "it is detached")
    offset = terminal.offset
    again = await reattach(broker, terminal.id, output_offset=offset)
    await again.run("sleep 0.2; echo $((6 * 7))")
    await again.drop()
    await soon(lambda: broker.session(terminal.id)["bytes_out"] > again.offset + 20, "output without a viewer")
    third = await reattach(broker, terminal.id, output_offset=again.offset)
    assert b"42" in await third.until(b"42")
    await third.run("exit")
    assert await third.closed() == 1000


async def test_the_screen_as_it_is_now(broker: Broker, web1: Machine):
    """With no offset, the newest output again: marked as old, so that no emulator answers it."""
    async with shell(broker, "web1") as terminal:
        await terminal.run("echo $((6 * 7))")
        await terminal.until(b"42")
        await terminal.ping()
        again = await reattach(broker, terminal.id)
        replay = await again.until_message("replay")
        assert again.kinds[:2] == ["attached", "replay"]
        assert replay["until"] == again.attached["head"] == terminal.offset
        await again.wait(lambda: again.offset >= replay["until"], "all of it")
        assert again.output[: replay["until"]] == terminal.output[: replay["until"]]
        await again.close()


async def test_what_the_ring_no_longer_holds_is_a_gap(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        await terminal.run(
            "stty -echo -opost; printf 'BE''GIN'; head -c 5000000 /dev/zero | tr '\\0' x; printf 'E''ND'"
        )
        await terminal.until(b"BEGIN")
        offset = terminal.offset
        await terminal.drop()
        await soon(lambda: broker.session(terminal.id)["bytes_out"] > 5_000_000, "it runs on")
        again = await reattach(broker, terminal.id, output_offset=offset)
        gap = await again.until_message("gap")
        assert (gap["from"], gap["to"], gap["reason"]) == (offset, again.attached["output_offset"], "ring")
        await again.until(b"END")
        assert again.output[:1000] == b"x" * 1000
        await again.close()


async def test_input_is_taken_once(broker: Broker, web1: Machine):
    """After a cut in the middle of typing, the broker says how much it has; the rest is sent again."""
    typed = b"echo $((40 + 2)).\r"
    async with shell(broker, "web1") as terminal:
        begin = terminal.input_acked
        await terminal.send(typed[:7])
        await terminal.wait(lambda: terminal.input_acked == begin + 7, "it is acknowledged")
        await terminal.drop()
        again = await reattach(broker, terminal.id, output_offset=terminal.offset, input_offset=begin + 7)
        assert again.attached["input_offset"] == begin + 7
        await again.send(typed[again.attached["input_offset"] - begin :])
        await again.until(b"42.")
        await again.close()


async def test_the_last_to_come_drives(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as first:
        second = await reattach(broker, first.id)
        assert await first.closed() == 4409
        assert first.messages[-1]["type"] == "closing"
        assert first.close_reason == "this terminal was opened in another window"
        assert broker.session(first.id)["state"] == "live"
        await second.run("echo $((6 * 7))")
        await second.until(b"42")
        await second.close()


async def test_drivers_that_come_at_once(broker: Broker, web1: Machine):
    """One of them stays, the others are told; nothing hangs."""
    async with shell(broker, "web1") as terminal:
        others = await asyncio.gather(*(reattach(broker, terminal.id) for _ in range(6)))
        await soon(lambda: broker.session(terminal.id)["viewers"] == 1, "one is left")
        await soon(lambda: sum(other.close_code is None for other in others) == 1, "the others are closed")
        assert {other.close_code for other in others} == {None, 4409}
        for other in others:
            await other.close()
