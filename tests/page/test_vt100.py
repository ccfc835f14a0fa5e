"""Modes of the VT100 that xterm.js does not have. vttest shows them with a real host, in tests/browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from .conftest import Terminal

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BACKGROUND = "getComputedStyle(document.querySelector('[data-active] .xterm-scrollable-element')).backgroundColor"


async def first_line(terminal: Terminal) -> str:
    shown: str = await terminal.page.evaluate("brokerdScreen.text()")
    return shown.split("\n")[0].rstrip()


async def test_a_change_of_columns_clears_the_screen_where_it_is_allowed(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"\x1b[2J\x1b[Hold text\x1b[?3l more")
    await terminal.shows("old text more")  # so do xterm and its terminfo entry: `tput init` must not clear anything
    session.print(b"\x1b[5;9r\x1b[7;7H\x1b[?40h\x1b[?3hnew text")
    await terminal.shows("new text")
    assert await first_line(terminal) == "new text"


@pytest.mark.parametrize("end", [b"\x1b[?5l", b"\x1bc"], ids=["by its mode", "by a reset"])
async def test_reverse_video(terminal: Terminal, end: bytes) -> None:
    session = await terminal.open()
    usual = await terminal.page.evaluate(BACKGROUND)
    session.print(b"\x1b[?5hreversed")
    await terminal.shows("reversed")
    other = await background(terminal, lambda colour: colour != usual)
    await terminal.page.emulate_media(color_scheme="dark")
    await background(terminal, lambda colour: colour not in (usual, other))  # that theme's own, the other way round
    await terminal.page.emulate_media(color_scheme="light")
    session.print(end + b"as usual")
    await terminal.shows("as usual")
    await background(terminal, lambda colour: colour == usual)


async def background(terminal: Terminal, fits: Callable[[str], bool]) -> str:
    """Of the screen, once it fits: a changed theme is shown a moment later."""
    for _ in range(600):
        colour: str = await terminal.page.evaluate(BACKGROUND)
        if fits(colour):
            return colour
        await asyncio.sleep(0.05)
    raise AssertionError(f"the background is {colour}")
