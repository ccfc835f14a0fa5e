"""A phone: the key bar, sticky Ctrl and Alt, and the box to write in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from .conftest import Terminal
from .fake_broker import Broker, Session, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def phone(chromium: Browser, broker: Broker) -> AsyncIterator[Terminal]:
    context = await chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Terminal(page, broker)
    await context.close()
    assert errors == []


async def tap(page: Page, name: str) -> None:
    await page.locator("#touch").get_by_role("button", name=name, exact=True).tap()


async def hold(page: Page, name: str) -> None:
    """Taps a modifier. The click that comes of a tap may be later than a key that is pressed right after it."""
    await tap(page, name)
    button = page.locator("#touch").get_by_role("button", name=name, exact=True)
    await expect(button).to_have_attribute("aria-pressed", "true")


async def typed(session: Session, expected: bytes) -> None:
    await wait_until(lambda: len(session.typed) >= len(expected), f"{expected!r}; so far {bytes(session.typed)!r}")
    assert bytes(session.typed) == expected


async def test_there_is_no_key_bar_for_a_mouse(terminal: Terminal) -> None:
    await terminal.open()
    assert await terminal.page.is_hidden("#touch")


async def test_the_keys_type(phone: Terminal) -> None:
    session = await phone.open()
    for name in ("Esc", "Tab", "Up", "Down", "Right", "Left", "Vertical bar", "Tilde"):
        await tap(phone.page, name)
    await typed(session, b"\x1b\t\x1b[A\x1b[B\x1b[C\x1b[D|~")


async def test_arrows_obey_application_mode(phone: Terminal) -> None:
    session = await phone.open()
    session.print(b"\x1b[?1hready")
    await phone.shows("ready")
    await tap(phone.page, "Up")
    await tap(phone.page, "Ctrl")
    await tap(phone.page, "Left")
    await typed(session, b"\x1bOA\x1b[1;5D")


async def test_an_arrow_repeats_while_it_is_held(phone: Terminal) -> None:
    session = await phone.open()
    down = phone.page.locator("#touch [data-key=down]")
    await down.dispatch_event("pointerdown")
    await wait_until(lambda: len(session.typed) >= 12, "repeats")
    await down.dispatch_event("pointerup")
    await tap(phone.page, "Esc")
    await wait_until(lambda: session.typed.endswith(b"\x1b"), "the end of it")
    await phone.page.wait_for_timeout(300)  # by when it would have been repeated
    await tap(phone.page, "Tab")
    await wait_until(lambda: session.typed.endswith(b"\t"), "the key after it")
    assert bytes(session.typed) == b"\x1b[B" * session.typed.count(b"\x1b[B") + b"\x1b\t"


async def test_ctrl_is_for_the_next_key_only(phone: Terminal) -> None:
    session = await phone.open()
    ctrl = phone.page.locator("#touch [data-modifier=ctrl]")
    await expect(ctrl).to_have_attribute("aria-pressed", "false")
    await ctrl.tap()
    await expect(ctrl).to_have_attribute("aria-pressed", "true")
    await phone.page.keyboard.type("rr")
    await typed(session, b"\x12r")
    await expect(ctrl).to_have_attribute("aria-pressed", "false")


async def test_ctrl_stays_after_a_second_tap(phone: Terminal) -> None:
    session = await phone.open()
    ctrl = phone.page.locator("#touch [data-modifier=ctrl]")
    await ctrl.tap()
    await ctrl.tap()
    await expect(ctrl).to_have_attribute("data-locked", "")
    await phone.page.keyboard.type("ab")
    await expect(ctrl).to_have_attribute("aria-pressed", "true")
    await expect(ctrl).to_have_attribute("data-locked", "")
    await ctrl.tap()
    await expect(ctrl).to_have_attribute("aria-pressed", "false")
    await phone.page.keyboard.type("c")
    await typed(session, b"\x01\x02c")


async def test_ctrl_and_c_interrupt(phone: Terminal) -> None:
    session = await phone.open()
    await hold(phone.page, "Ctrl")
    await phone.page.keyboard.type("c")
    await typed(session, b"\x03")
    assert {"type": "interrupt"} in session.socket.texts


async def test_alt_and_ctrl_together(phone: Terminal) -> None:
    session = await phone.open()
    await hold(phone.page, "Alt")
    await phone.page.keyboard.type("b")
    await hold(phone.page, "Ctrl")
    await hold(phone.page, "Alt")
    await phone.page.keyboard.type("x")
    await typed(session, b"\x1bb\x1b\x18")


async def test_what_an_on_screen_keyboard_inserts_is_modified(phone: Terminal) -> None:
    """Such a keyboard sends no key codes, but inserts text."""
    session = await phone.open()
    await hold(phone.page, "Ctrl")
    await phone.page.keyboard.insert_text("d")
    await typed(session, b"\x04")


async def test_a_letter_is_modified_before_its_word_is_composed(phone: Terminal) -> None:
    """Many on-screen keyboards hand over whole words only."""
    session = await phone.open()
    devtools = await phone.page.context.new_cdp_session(phone.page)
    await hold(phone.page, "Ctrl")
    await devtools.send("Input.imeSetComposition", {"text": "l", "selectionStart": 1, "selectionEnd": 1})
    await typed(session, b"\x0c")
    await devtools.send("Input.imeSetComposition", {"text": "ls", "selectionStart": 2, "selectionEnd": 2})
    await devtools.send("Input.insertText", {"text": "ls"})
    await typed(session, b"\x0cs")


async def test_the_keys_leave_the_focus_in_the_terminal(phone: Terminal) -> None:
    """Else the on-screen keyboard would close."""
    await phone.open()
    focused = "document.activeElement.className"
    assert "xterm" in await phone.page.evaluate(focused)
    for name in ("Esc", "Ctrl", "Up"):
        await tap(phone.page, name)
        assert "xterm" in await phone.page.evaluate(focused)


async def test_text_can_be_written_before_it_goes(phone: Terminal) -> None:
    session = await phone.open()
    await tap(phone.page, "Write text")
    await phone.page.locator("#compose textarea").fill("echo grüße")
    await phone.page.get_by_role("button", name="Send and Enter").tap()
    await typed(session, "echo grüße\r".encode())
    await phone.page.locator("#compose textarea").fill(":wq")
    await phone.page.get_by_role("button", name="Send", exact=True).tap()
    await typed(session, "echo grüße\r:wq".encode())
    await phone.page.get_by_role("button", name="Close", exact=True).tap()
    await expect(phone.page.locator("#compose")).to_be_hidden()
    await phone.page.wait_for_function("() => document.activeElement.className.includes('xterm')")


async def test_several_lines_are_pasted(phone: Terminal) -> None:
    session = await phone.open()
    session.print(b"\x1b[?2004hready")
    await phone.shows("ready")
    await tap(phone.page, "Write text")
    await phone.page.locator("#compose textarea").fill("one\ntwo")
    await phone.page.get_by_role("button", name="Send and Enter").tap()
    await typed(session, b"\x1b[200~one\rtwo\x1b[201~\r")


async def test_the_bar_is_on_the_screen_and_nothing_scrolls(phone: Terminal) -> None:
    await phone.open()
    box = await phone.page.locator("#touch").bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 390)
    assert box["y"] + box["height"] == pytest.approx(844, abs=1)
    assert await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await phone.page.evaluate("document.getElementById('touch').scrollWidth <= innerWidth")
    heights = await phone.page.evaluate(
        "[...document.querySelectorAll('#touch button')].map((button) => button.getBoundingClientRect().height)"
    )
    assert min(heights) >= 40
