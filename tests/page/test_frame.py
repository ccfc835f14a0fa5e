"""What stands around the terminal: the bar, find, sizes, small screens, policies."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from .conftest import Terminal
from .fake_broker import ROOT, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_find_shows_and_leaves(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"needle one\r\nhay\r\nneedle two\r\n")
    await terminal.shows("needle two")
    await terminal.page.keyboard.press("Control+Shift+F")
    await terminal.page.keyboard.type("needle")
    await terminal.page.keyboard.press("Enter")
    await expect(terminal.page.locator(".find output")).to_contain_text("of 2")
    await terminal.page.keyboard.press("Escape")
    await terminal.page.keyboard.type("y")
    await wait_until(lambda: bytes(session.typed) == b"y", "focus back in the terminal, and nothing of the search")


async def test_the_window_sets_the_size(terminal: Terminal) -> None:
    session = await terminal.open()
    first = terminal.broker.attaches[0]
    await terminal.page.set_viewport_size({"width": 700, "height": 400})

    def is_smaller() -> bool:
        return any(cols < first["cols"] and rows < first["rows"] for cols, rows in session.resizes)

    await wait_until(is_smaller, "a resize")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_small_screens_and_themes(terminal: Terminal, scheme: str) -> None:
    await terminal.page.emulate_media(color_scheme=scheme)
    await terminal.page.set_viewport_size({"width": 360, "height": 740})
    session = await terminal.open()
    session.print(b"here")
    await terminal.shows("here")
    assert await terminal.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = await terminal.page.evaluate(
        "getComputedStyle(document.querySelector('.xterm-viewport, .xterm-scrollable-element')).backgroundColor"
    )
    assert (background == "rgb(0, 0, 0)") is False, "the emulator's own black shows around the terminal"


async def test_styles_need_no_exception_from_the_policy(terminal: Terminal) -> None:
    """A violation is a console error, which the `page` fixture does not let pass; the emulator's styles do apply."""
    await terminal.open()
    nonces = await terminal.page.evaluate("[...document.querySelectorAll('style')].map((style) => style.nonce)")
    assert nonces, "the emulator makes style elements"
    assert all(nonces)


async def test_all_modules_are_asked_for_at_once(terminal: Terminal) -> None:
    """What an import would ask for later, one round trip for each level of imports, the page names at once."""
    await terminal.open()
    named = await terminal.page.evaluate(
        "[...document.querySelectorAll('[rel=modulepreload]')].map((link) => link.href)"
    )
    loaded = await terminal.page.evaluate(
        "performance.getEntriesByType('resource').map(({name}) => name).filter((name) => /\\.m?js$/.test(name))"
    )
    main = f"{terminal.broker.url.partition('/hosts')[0]}/static/terminals/main.js"
    assert {*named, main} == set(loaded)
    modules = {path.name for path in (ROOT / "static" / "terminals").glob("*.js")}
    assert modules == {url.rpartition("/")[2] for url in loaded if "/terminals/" in url}
