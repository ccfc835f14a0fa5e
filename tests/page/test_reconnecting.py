"""A lost websocket: the page comes back by itself, and no byte is lost or repeated either way."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Terminal
from .fake_broker import Session, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

START = 2_000_000_000


async def test_cuts_lose_and_repeat_nothing(terminal: Terminal) -> None:
    session = await terminal.open()
    session.acks_input = False  # what was typed but not acknowledged must be sent again, or not, by the offsets
    for cut in range(5):
        await terminal.page.keyboard.type(f"key{cut}")
        await wait_until(lambda cut=cut: session.typed.endswith(b"key%d" % cut), "keys")
        session.print(b"<%d>" % cut)
        session.socket.cut()
        session.socket = None
        session.print(b"[while away %d]" % cut)
        await terminal.page.keyboard.type(f"+{cut}")
        await wait_until(lambda: session.socket is not None, "a new attach")
        await wait_until(lambda cut=cut: session.typed.endswith(b"+%d" % cut), "keys typed while away")
    assert bytes(session.typed) == b"".join(b"key%d+%d" % (cut, cut) for cut in range(5))
    expected = "".join(f"<{cut}>[while away {cut}]" for cut in range(5))
    await terminal.shows(expected)
    assert (await terminal.page.evaluate("brokerdScreen.text()")).count("while away") == 5
    assert len(terminal.broker.sessions) == 1, "the same shell all along"


async def lose(terminal: Terminal, session: Session) -> None:
    """As when the network goes: the page cannot come back."""
    terminal.broker.is_down = True
    session.socket.cut()
    session.socket = None
    await terminal.is_state("reconnecting")


async def banner(terminal: Terminal) -> str:
    return await terminal.page.inner_text(".pane[data-active] .banner .words")


async def test_it_says_that_it_reconnects(terminal: Terminal) -> None:
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)  # so that it does not try by itself
    await lose(terminal, session)
    assert "Reconnecting" in await banner(terminal)
    await terminal.page.keyboard.type("kept")
    assert "What you type is kept" in await banner(terminal)
    terminal.broker.is_down = False
    await terminal.page.get_by_role("button", name="Try now").click()
    await terminal.is_state("live")
    await wait_until(lambda: bytes(session.typed) == b"kept", "what was typed meanwhile")


async def test_it_says_how_long_the_shell_waits(terminal: Terminal) -> None:
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)
    await lose(terminal, session)
    assert await banner(terminal) == "Reconnecting… The shell waits for 10 min."
    said = terminal.page.locator(".banner [role=status]")
    assert await said.inner_text() == await banner(terminal)
    await terminal.page.clock.run_for(20_000)
    assert await banner(terminal) == "Reconnecting… The shell waits for 9 min 40 s."
    assert await said.inner_text() == "Reconnecting… The shell waits for 10 min.", "said once"
    await terminal.page.keyboard.type("x")
    assert await banner(terminal) == "Reconnecting… What you type is kept. The shell waits for 9 min 40 s."
    await terminal.page.clock.fast_forward(535_000)
    assert await banner(terminal) == "Reconnecting… What you type is kept. The shell waits for 45 s."
    await terminal.page.clock.run_for(46_000)
    assert await banner(terminal) == "Reconnecting… What you type is kept. The shell may have ended."
    terminal.broker.is_down = False
    await comes_back(terminal)
    assert not await terminal.page.locator(".banner").is_visible()


async def comes_back(terminal: Terminal) -> None:
    """Lets the time pass that it waits before it tries again; how soon it hears of a failure is not the clock's."""
    async with asyncio.timeout(60):
        while await terminal.page.get_attribute("body", "data-state") != "live":
            await terminal.page.clock.run_for(1_000)
            await asyncio.sleep(0.2)


async def test_an_older_broker_does_not_say_how_long(terminal: Terminal) -> None:
    terminal.broker.grace = None
    session = await terminal.open()
    await lose(terminal, session)
    assert await banner(terminal) == "Reconnecting…"
    terminal.broker.is_down = False
    await terminal.is_state("live")


@pytest.mark.parametrize("event", ["online", "visibilitychange"])
async def test_it_tries_at_once_when_the_network_or_the_page_is_back(terminal: Terminal, event: str) -> None:
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)
    await lose(terminal, session)
    terminal.broker.is_down = False
    target = "window" if event == "online" else "document"
    await terminal.page.evaluate(f"() => {{ {target}.dispatchEvent(new Event('{event}')) }}")
    await terminal.is_state("live")


async def test_after_a_sleep_it_asks_whether_the_connection_lives(terminal: Terminal) -> None:
    """The connection died while the machine slept, and nothing says so: no event, no closed socket."""
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)
    asleep = session.socket
    before = len(asleep.texts)
    asleep.send = lambda _message: None
    await terminal.page.clock.fast_forward(20 * 60 * 1000)
    await wait_until(lambda: any(text["type"] == "ping" for text in asleep.texts[before:]), "a ping at once")
    session.socket = None
    await terminal.page.clock.run_for(5_500)
    await terminal.is_state("live")
    await wait_until(lambda: session.socket is not None, "another connection")


async def test_after_a_long_sleep_the_shell_may_have_ended(terminal: Terminal) -> None:
    """It has waited since the broker was last heard of, not since the page has noticed."""
    await terminal.page.clock.install(time=START)
    session = await terminal.open()
    await terminal.pause(session)
    session.socket.send = lambda _message: None
    terminal.broker.is_down = True
    await terminal.page.clock.fast_forward(20 * 60 * 1000)
    await terminal.page.clock.run_for(5_500)
    await terminal.is_state("reconnecting")
    assert await banner(terminal) == "Reconnecting… The shell may have ended."


async def test_a_reload_attaches_to_the_same_shell(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"still here")
    await terminal.shows("still here")
    assert f"session={session.id}" in await terminal.page.evaluate("location.href")
    await terminal.page.reload()
    await terminal.is_state("live")
    await terminal.shows("still here")
    assert len(terminal.broker.sessions) == 1


async def test_a_reload_after_the_end_offers_a_new_terminal(terminal: Terminal) -> None:
    await terminal.open()
    terminal.broker.sessions.clear()
    await terminal.page.reload()
    title, text, offers = await terminal.panel()
    assert (title, offers) == ("This terminal has ended", ["Open again", "Back to hosts"])
    assert "no such terminal session" in text
    await terminal.page.keyboard.press("Enter")
    await terminal.is_state("live")


async def test_nothing_secret_is_in_the_address(terminal: Terminal) -> None:
    await terminal.open()
    assert terminal.broker.attaches[0]["ticket"] not in terminal.page.url


async def test_a_broker_that_stops_says_when_to_come_back(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "closing", "reason": "the broker is stopping", "retry_after": 1})
    session.socket.close(4503, "the broker is stopping")
    await terminal.is_state("reconnecting")
    await terminal.is_state("live")
