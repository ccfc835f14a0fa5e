"""Time limits: said before they end a terminal, and withdrawn when somebody is there."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator

from .conftest import Terminal
from .fake_broker import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

START = 2_000_000_000
IDLE = "Nothing was typed for a while: this terminal ends in "
LONGEST = "This terminal reaches its longest time in "


def banner(terminal: Terminal) -> Locator:
    return terminal.page.locator(".pane[data-active] .banner")


async def shown(terminal: Terminal) -> str:
    await banner(terminal).wait_for()
    return await banner(terminal).locator(".words").inner_text()


async def test_an_idle_terminal_counts_down_by_itself(terminal: Terminal) -> None:
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 54})
    assert await shown(terminal) == f"{IDLE}0:54."
    await terminal.pass_time(session, 10_000)
    assert await shown(terminal) == f"{IDLE}0:44."
    await terminal.page.clock.fast_forward(45_000)
    assert await shown(terminal) == "Nothing was typed for a while: this terminal ends now."


async def test_a_screen_reader_is_told_once(terminal: Terminal) -> None:
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 60})
    await banner(terminal).wait_for()
    said = banner(terminal).locator("[role=status]")
    assert await said.inner_text() == f"{IDLE}1:00."
    await terminal.pass_time(session, 20_000)
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 40})
    await terminal.has_arrived(session)
    await terminal.pass_time(session, 5_000)
    assert await shown(terminal) == f"{IDLE}0:35."
    assert await said.inner_text() == f"{IDLE}1:00.", "the live region keeps still"
    assert await banner(terminal).locator(".words").get_attribute("role") == "timer", "which is not read out"


async def test_stay_withdraws_it_and_types_nothing(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 54})
    await banner(terminal).get_by_role("button", name="Stay").click()
    await wait_until(lambda: session.stays == 1, "the message")
    session.socket.send({"type": "limit", "kind": "idle", "in_s": None})
    await banner(terminal).wait_for(state="hidden")
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "the keyboard is the terminal's again")


async def test_the_longest_time_cannot_be_put_off(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "limit", "kind": "longest", "in_s": 299})
    assert re.fullmatch(rf"{LONGEST}4:[345]\d\.", await shown(terminal))
    assert await banner(terminal).get_by_role("button").count() == 0


async def test_of_two_limits_the_first_to_come_is_said(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "limit", "kind": "longest", "in_s": 50})
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 20})
    await banner(terminal).locator(".words", has_text=IDLE).wait_for()
    session.socket.send({"type": "limit", "kind": "idle", "in_s": None})
    await terminal.page.locator(".banner .words", has_text="longest time").wait_for()


async def test_an_unknown_limit_is_not_shown(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "limit", "kind": "moon", "in_s": 20})
    session.print(b"goes on")
    await terminal.shows("goes on")
    assert not await banner(terminal).is_visible()


@pytest.mark.parametrize(
    "reason",
    [
        "nothing was typed for 900 s",
        "it reached the longest time that is allowed, 28800 s",
        "nobody came back within 600 s",
    ],
)
async def test_the_end_names_the_limit(terminal: Terminal, reason: str) -> None:
    session = await terminal.open()
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 1})
    await banner(terminal).wait_for()
    session.socket.send({"type": "closing", "reason": reason, "retry_after": None})
    session.socket.close(4411, reason)
    title, text, offers = await terminal.panel()
    assert (title, offers[0]) == ("A limit was reached", "Open again")
    assert reason[1:] in text
    assert not await banner(terminal).is_visible()


async def test_a_lost_connection_says_so_instead(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "limit", "kind": "idle", "in_s": 50})
    await banner(terminal).wait_for()
    terminal.broker.is_down = True
    session.socket.cut()
    await terminal.is_state("reconnecting")
    assert (await shown(terminal)).startswith("Reconnecting…")
    terminal.broker.is_down = False
    await terminal.is_state("live")
    assert not await banner(terminal).is_visible(), "the broker says limits anew"
