"""Ctrl-C under a flood and a slow page: what waits is dropped, visibly, and all else is exact."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.story.broker import Broker
from tests.story.machine import PROMPT, Machine
from tests.story.page import Page, page
from tests.story.terminal import reattach, shell

pytestmark = pytest.mark.sshd
RATE = 250_000
"""Bytes in a second that a slow page shows: any host floods it."""
MOST = 4 * 1024 * 1024
MOST_IN_FLIGHT = 512 * 1024
"""What the window may be at most, and so what may come after the ^C besides the last lines."""
FIRST = 1_000_000_000
LINE = 12
"""Ten digits and CR LF: from its offset in the output one knows which number it must be."""
COUNT = f"printf 'BE''GIN'; seq {FIRST} 1999999999"
NUMBER = rb"\d{10}\r\n"


async def flood(it: Page, command: str) -> None:
    """Let it run until the page has fallen behind, and the host is held back."""
    it.rate = RATE
    begin = it.offset
    await it.run(command)
    await it.wait(lambda: it.offset > begin + MOST_IN_FLIGHT, "a flood, and more of it than any window takes")


async def test_the_prompt_comes_back(broker: Broker, web1: Machine):
    async with page(broker, "web1") as it:
        await flood(it, "yes")
        before, shown = broker.rss(), it.offset
        await it.interrupt()
        await it.wait(lambda: it.of("gap"), "the gap is marked")
        [gap] = it.of("gap")
        assert gap["reason"] == "interrupt"
        assert gap["from"] - shown < MOST_IN_FLIGHT, "no more than was in flight comes before it"
        await it.until(PROMPT)
        assert re.fullmatch(rb"(y\r\n)*(y\r?)?\^C(\r\n)+(\x1b\[\?2004h)?story\$ ", bytes(it.output))
        assert broker.rss() - before < MOST
        await it.wait(lambda: it.input_acked == len(it.typed), "the interrupt is acknowledged as one byte")
        await it.run("echo $((6 * 7))")
        await it.until(b"42\r\n")


async def test_what_comes_after_the_gap_is_exact(broker: Broker, web1: Machine):
    """Each number stands at its own offset, before the gap and after it."""
    async with page(broker, "web1") as it:
        await flood(it, COUNT)
        await it.interrupt()
        await it.wait(lambda: it.of("gap"), "the gap is marked")
        await it.until(PROMPT)
        begin = it.pieces[0][1].index(b"BEGIN") + len(b"BEGIN")
        assert len(it.pieces) == 2
        for offset, piece in it.pieces:
            lines = list(re.finditer(NUMBER, piece[max(0, begin - offset) :]))
            assert lines
            offset = max(offset, begin)
            for line in lines:
                place, rest = divmod(offset - begin + line.start(), LINE)
                assert (int(line[0]), rest) == (FIRST + place, 0)
        assert re.match(NUMBER, it.output), "from the beginning of a line"


async def test_again_and_again(broker: Broker, web1: Machine):
    """Memory stays as it is."""
    async with page(broker, "web1") as it:
        for number in range(4):
            await flood(it, f"yes number {number}")
            await it.interrupt()
            await it.wait(lambda: it.output.endswith(PROMPT), "the prompt")
            if number == 1:
                before = broker.rss()
        assert broker.rss() - before < MOST


async def test_a_program_that_ignores_it_is_shown_again(broker: Broker, web1: Machine):
    async with page(broker, "web1") as it:
        await flood(it, "(trap '' INT; yes)")
        await it.interrupt()
        await it.wait(lambda: it.of("gap"), "the gap is marked")
        shown = it.offset
        await it.wait(lambda: it.offset > shown + 200_000, "it goes on")
        assert bytes(it.output[:90]).replace(b"^C", b"").strip(b"y\r\n") == b""


async def test_the_host_is_held_back_again_afterwards(broker: Broker, web1: Machine, tmp_path):
    """An interrupt that is ignored does not leave the flood running at full speed."""
    async with page(broker, "web1") as it:
        await flood(it, "(trap '' INT; yes)")
        await it.interrupt()
        await it.wait(lambda: it.of("gap"), "the gap is marked")
        await it.wait(lambda: it.offset > it.pieces[-1][0] + 200_000, "it goes on")
        # The SSH channel's own window and the pipes beyond are full as well, but no more than that.
        ahead = broker.session(it.id)["bytes_out"] - it.offset
        assert ahead < 2 * MOST_IN_FLIGHT


async def test_nothing_is_dropped_when_nothing_is_behind(broker: Broker, web1: Machine):
    async with page(broker, "web1") as it:
        await it.run("sh -c \"printf 'all of ''this'; exec sleep 1000\"")
        await it.until(b"all of this")
        await it.interrupt()
        await it.wait(lambda: it.output.endswith(PROMPT), "the prompt")
        assert it.of("gap") == []
        assert b"all of this^C" in it.output
        assert len(it.output) == it.offset


async def test_what_was_typed_before_it_comes_before_it(broker: Broker, web1: Machine, tmp_path):
    async with page(broker, "web1") as it:
        await it.run(f"stty raw -echo; printf 'BE''GIN'; head -c 9 > {tmp_path}/typed; stty sane; printf 'E''ND'")
        await it.until(b"BEGIN")
        await it.type(b"1234")
        await it.interrupt()
        await it.type(b"5678")
        await it.until(b"END")
        assert (tmp_path / "typed").read_bytes() == b"1234\x035678"


async def test_a_watcher_cannot(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        watcher = await reattach(broker, terminal.id, role="watcher")
        await terminal.run("sleep 1000")
        await watcher.control("interrupt")
        assert await watcher.closed() == 4400
        await terminal.ping()
        assert b"^C" not in terminal.output


async def test_a_second_one_while_the_first_is_under_way(broker: Broker, web1: Machine):
    async with page(broker, "web1") as it:
        await flood(it, "yes")
        await asyncio.gather(it.interrupt(), it.interrupt())
        await it.wait(lambda: it.output.endswith(PROMPT), "the prompt")
        await it.wait(lambda: it.input_acked == len(it.typed), "both are taken")
        await it.run("echo $((6 * 7))")
        await it.until(b"42\r\n")
