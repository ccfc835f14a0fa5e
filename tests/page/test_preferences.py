"""What a person likes about terminals: shown at once, kept by the broker, the same at the next load."""

from __future__ import annotations

import json

import pytest

from .conftest import Terminal
from .fake_broker import PREFERENCES, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DIALOG = "#settings[open]"
BACKGROUND = 'getComputedStyle(document.querySelector("[data-active] .xterm-scrollable-element")).backgroundColor'


async def open_settings(terminal: Terminal) -> None:
    await terminal.page.get_by_role("button", name="Settings").click()
    await terminal.page.wait_for_selector(DIALOG)


async def stored(terminal: Terminal, **wanted: object) -> None:
    """Waits until the broker keeps these, and everything else as it was."""
    await wait_until(
        lambda: terminal.broker.preferences == {**PREFERENCES, **wanted}, f"{wanted} to be kept by the broker"
    )


async def test_every_preference_has_a_field(terminal: Terminal) -> None:
    await terminal.open()
    await open_settings(terminal)
    fields = await terminal.page.evaluate(
        "[...document.querySelector('#settings form').elements].map((field) => field.name).filter((name) => name)"
    )
    assert sorted(fields) == sorted(PREFERENCES)
    defaults = await terminal.page.evaluate(
        "(async () => (await import('/static/terminals/preferences.js')).DEFAULTS)()"
    )
    assert defaults == PREFERENCES
    unnamed = await terminal.page.evaluate(
        "[...document.querySelector('#settings form').elements]"
        ".filter((field) => field.name && field.labels.length === 0).map((field) => field.name)"
    )
    assert unnamed == []


async def test_all_of_them_reach_the_broker(terminal: Terminal) -> None:
    await terminal.open()
    await open_settings(terminal)
    page = terminal.page
    await page.get_by_label("Font", exact=True).fill("Fira Code, 'DejaVu Sans Mono'")
    await page.get_by_label("Size in pixels").fill("18")
    await page.get_by_label("Line height").fill("1.25")
    await page.get_by_label("Theme").select_option("solarized-light")
    await page.locator("select[name=cursor_style]").select_option("bar")
    await page.get_by_label("The cursor blinks").check()
    await page.get_by_label("Lines to scroll back").fill("500")
    await page.get_by_label("Bell").select_option("both")
    await page.get_by_label("Screen reader mode").last.check()
    await page.get_by_label("Show several lines").uncheck()
    await page.get_by_label("Copy what is selected").check()
    await page.get_by_label("Programs may put").check()
    await stored(
        terminal,
        font_family="Fira Code, 'DejaVu Sans Mono'",
        font_size=18,
        line_height=1.25,
        theme="solarized-light",
        cursor_style="bar",
        cursor_blink=True,
        scrollback=500,
        bell="both",
        screen_reader=True,
        confirm_paste=False,
        copy_on_select=True,
        clipboard_write=True,
    )
    await page.get_by_role("button", name="Usual settings").click()
    await stored(terminal)


async def test_a_change_shows_at_once_and_after_a_reload(terminal: Terminal) -> None:
    session = await terminal.open()
    cols = terminal.broker.attaches[0]["cols"]
    await open_settings(terminal)
    await terminal.page.get_by_label("Size in pixels").fill("28")
    await wait_until(lambda: session.resizes and session.resizes[-1][0] < cols * 0.6, "larger letters, fewer columns")
    await terminal.page.get_by_label("Theme").select_option("light")
    await terminal.page.wait_for_function(f"() => {BACKGROUND} === 'rgb(255, 255, 255)'")
    await terminal.page.keyboard.press("Escape")
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "the keyboard is the terminal's again")
    await stored(terminal, font_size=28, theme="light")

    await terminal.page.reload()
    await terminal.is_state("live")
    assert terminal.broker.attaches[-1]["cols"] < cols * 0.6
    await terminal.page.wait_for_function(f"() => {BACKGROUND} === 'rgb(255, 255, 255)'")


async def test_a_key_right_behind_esc_is_typed(terminal: Terminal) -> None:
    """The event that says that a dialog is closed comes after the key."""
    session = await terminal.open()
    await terminal.page.evaluate(
        "document.addEventListener('close', (event) => event.stopImmediatePropagation(), { capture: true })"
    )
    await open_settings(terminal)
    await terminal.page.keyboard.press("Escape")
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "the keyboard is the terminal's again")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_theme_of_the_system_is_followed(terminal: Terminal, scheme: str) -> None:
    await terminal.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    await terminal.open()
    await terminal.page.emulate_media(color_scheme=scheme)
    expected = {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}[scheme]
    await terminal.page.wait_for_function(f"() => {BACKGROUND} === '{expected}'")


async def test_a_chosen_theme_dresses_the_page_as_well(terminal: Terminal) -> None:
    terminal.broker.preferences["theme"] = "solarized-dark"
    await terminal.page.emulate_media(color_scheme="light")
    await terminal.open()
    style = "getComputedStyle(document.body).backgroundColor"
    assert await terminal.page.evaluate(style) == "rgb(0, 43, 54)"
    await terminal.page.wait_for_function(f"() => {BACKGROUND} === 'rgb(0, 43, 54)'")


async def test_the_buttons_of_the_bar_change_the_same(terminal: Terminal) -> None:
    await terminal.page.clock.install()
    await terminal.pause(await terminal.open())  # so that however slow, this is a burst
    page = terminal.page
    await page.get_by_role("button", name="Larger text").click()
    await page.get_by_role("button", name="Larger text").click()
    await page.get_by_role("button", name="Smaller text").click()
    reader = page.get_by_role("button", name="Screen reader mode")
    assert await reader.get_attribute("aria-pressed") == "false"
    await reader.click()
    assert await reader.get_attribute("aria-pressed") == "true"
    await page.clock.run_for(1_000)
    await stored(terminal, font_size=15, screen_reader=True)
    assert [path for method, path, _ in terminal.broker.requests if method == "PUT"] == ["/preferences"], (
        "one message for a burst of changes"
    )


async def test_screen_reader_mode_is_a_live_text(terminal: Terminal) -> None:
    terminal.broker.preferences["screen_reader"] = True
    session = await terminal.open()
    session.print(b"heard by a screen reader\r\n")
    rows = terminal.page.locator(".xterm-accessibility-tree [role=listitem]")
    await rows.get_by_text("heard by a screen reader").wait_for(state="attached")


async def test_a_broker_that_does_not_keep_them_is_told_of(terminal: Terminal) -> None:
    session = await terminal.open()
    terminal.broker.problems.append((422, {"title": "Unprocessable", "detail": "No such font.", "status": 422}))
    await terminal.page.get_by_role("button", name="Larger text").click()
    await terminal.page.get_by_text("The settings are not saved: No such font. This page keeps them.").wait_for()
    assert terminal.broker.preferences == PREFERENCES
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "typing goes on")


async def test_a_value_out_of_bounds_is_not_taken(terminal: Terminal) -> None:
    await terminal.open()
    await open_settings(terminal)
    size = terminal.page.get_by_label("Size in pixels")
    await size.fill("99")
    await size.blur()
    assert await size.input_value() == "14"
    font = terminal.page.get_by_label("Font", exact=True)
    await font.fill("x; } body { display: none")
    await font.blur()
    assert await font.input_value() == ""
    await terminal.page.get_by_label("Lines to scroll back").fill("0")
    await stored(terminal, scrollback=0)


async def test_a_font_cannot_leave_the_style_sheet(terminal: Terminal) -> None:
    """A broker of another version might let it through."""
    terminal.broker.preferences["font_family"] = 'x"; } body { display: none } .y { font-family: "z'
    session = await terminal.open()
    session.print(b"seen")
    await terminal.shows("seen")
    assert await terminal.page.evaluate("getComputedStyle(document.body).display") != "none"
    rules = await terminal.page.evaluate(
        "JSON.stringify([...document.querySelectorAll('style')].map((s) => s.textContent))"
    )
    assert "body {" not in json.loads(rules)[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_dialog_fits_a_phone(terminal: Terminal, scheme: str) -> None:
    await terminal.page.emulate_media(color_scheme=scheme)
    await terminal.page.set_viewport_size({"width": 390, "height": 844})
    await terminal.open()
    await open_settings(terminal)
    assert await terminal.page.evaluate(
        "document.getElementById('settings').scrollWidth <= document.getElementById('settings').clientWidth"
    )
