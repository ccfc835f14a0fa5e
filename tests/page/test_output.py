"""Output: acknowledged as it is parsed, never beyond; replays type nothing; hostile output does nothing."""

from __future__ import annotations

import pytest

from .conftest import Terminal
from .fake_broker import WINDOW_BYTES, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUERIES = b"\x1b[c\x1b[6n\x1b[>c"


async def test_a_flood_keeps_flowing_within_the_window(terminal: Terminal) -> None:
    session = await terminal.open()
    flood = b"".join(b"line %06d of the flood that must not stall\r\n" % number for number in range(40_000))
    await session.flood(flood)
    await terminal.shows("line 039999")
    # The fake broker notes an ack beyond what was sent, or one that goes back, as a violation.
    await wait_until(lambda: session.ack_log[-1] == len(session.output), "all of it acknowledged")
    gaps = [after - before for before, after in zip([0, *session.ack_log], session.ack_log, strict=False)]
    assert max(gaps) <= WINDOW_BYTES


async def test_a_replay_types_nothing_and_later_queries_are_answered(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"old" + QUERIES + b" end of old\r\n")
    await terminal.shows("end of old")
    await wait_until(lambda: b"\x1b[?" in session.typed, "an answer to a fresh query")
    before = bytes(session.typed)

    await terminal.page.reload()
    await terminal.is_state("live")
    await terminal.shows("end of old")
    await wait_until(lambda: session.socket and session.socket.acked == len(session.output), "the replay parsed")
    assert bytes(session.typed) == before, "a reply to an old query was typed"

    session.print(b"\x1b[6n")
    await wait_until(lambda: len(session.typed) > len(before), "an answer after the replay")


async def test_a_gap_is_visible_amid_the_output(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"before")
    await terminal.shows("before")
    start = len(session.output)
    session.output += b"x" * 2048
    session.socket.sent = len(session.output)
    session.socket.send({"type": "gap", "from": start, "to": start + 2048, "reason": "slow"})
    session.print(b"after")
    await terminal.shows("2 KiB of output left out: this browser was too slow")
    await terminal.shows("after")


async def test_titles_are_plain_text(terminal: Terminal) -> None:
    session = await terminal.open()
    assert await terminal.page.title() == "web1"
    session.print("\x1b]2;<b>vim</b> \u202etxt.exe\x07shown".encode())
    await terminal.shows("shown")
    assert await terminal.page.title() == "web1 · <b>vim</b> txt.exe"


async def test_the_clipboard_is_out_of_reach_of_output(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    session.print(b"\x1b]52;c;c3RvbGVu\x07\x1b]52;c;?\x07shown")
    await terminal.shows("shown")
    await wait_until(lambda: session.socket.acked == len(session.output), "all parsed")
    assert await terminal.page.evaluate("navigator.clipboard.readText()") == "mine"
    assert b"52;" not in session.typed


@pytest.mark.parametrize("target", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x"])
async def test_only_web_links_are_followed(terminal: Terminal, target: str) -> None:
    session = await terminal.open()
    session.print(f"\x1b]8;;{target}\x1b\\click here\x1b]8;;\x1b\\ end".encode())
    await terminal.shows("click here")
    await terminal.page.mouse.click(30, 48)
    await terminal.page.keyboard.type("x")  # an answer to the click, had there been one, came before this
    await wait_until(lambda: b"x" in session.typed, "the key")
    assert not await terminal.page.evaluate("document.getElementById('link').open")


async def test_a_web_link_asks_first(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"\x1b]8;;https://example.com/path?q=1\x1b\\a friendly name\x1b]8;;\x1b\\")
    await terminal.shows("a friendly name")
    await terminal.page.mouse.move(40, 48)
    await terminal.page.mouse.click(30, 48)
    await terminal.page.wait_for_selector("#link[open]")
    assert await terminal.page.inner_text("#link-url") == "https://example.com/path?q=1"
    assert await terminal.page.inner_text("#link-host") == "example.com"
    await terminal.page.get_by_role("button", name="Cancel").click()
    assert len(terminal.page.context.pages) == 1
