"""A lost websocket: the page comes back by itself, and no byte is lost or repeated either way."""

from __future__ import annotations

import pytest

from .conftest import Terminal
from .fake_broker import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


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


async def test_it_says_that_it_reconnects(terminal: Terminal) -> None:
    session = await terminal.open()
    terminal.broker.is_down = True
    session.socket.cut()
    await terminal.is_state("reconnecting")
    assert "Reconnecting" in await terminal.page.inner_text("#banner")
    await terminal.page.keyboard.type("kept")
    assert "What you type is kept" in await terminal.page.inner_text("#banner")
    terminal.broker.is_down = False
    await terminal.page.get_by_role("button", name="Try now").click()
    await terminal.is_state("live")
    await wait_until(lambda: bytes(session.typed) == b"kept", "what was typed meanwhile")


async def test_a_reload_attaches_to_the_same_shell(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"still here")
    await terminal.shows("still here")
    assert f"session={session.id}" in terminal.page.url
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
