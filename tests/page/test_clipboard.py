"""The clipboard: copied by the person, written by programs only where that is allowed, and never read by them."""

from __future__ import annotations

import base64

import pytest

from .conftest import Terminal
from .fake_broker import Session, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CLIPBOARD = "navigator.clipboard.readText()"
# Plain http from another machine: no clipboard API.
NO_API = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"


def osc52(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return b"\x1b]52;c;" + base64.b64encode(data) + b"\x07"


async def allowed(terminal: Terminal) -> Session:
    terminal.broker.preferences["clipboard_write"] = True
    return await terminal.open()


async def all_parsed(session: Session) -> None:
    await wait_until(lambda: session.socket and session.socket.acked == len(session.output), "all parsed")


async def holds(terminal: Terminal, text: str) -> None:
    await terminal.page.wait_for_function(f"async (text) => (await {CLIPBOARD}) === text", arg=text)


async def test_a_program_may_write_where_that_is_allowed(terminal: Terminal) -> None:
    session = await allowed(terminal)
    session.print(osc52("grüße ✓ 👍"))
    await terminal.page.get_by_text("web1 put 9 characters into the clipboard.").wait_for()
    await holds(terminal, "grüße ✓ 👍")


async def test_it_is_off_and_says_so_once(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    session.print(osc52("stolen") + b"shown")
    await terminal.shows("shown")
    await terminal.page.get_by_text("wanted to fill the clipboard").wait_for()
    await terminal.page.evaluate("document.querySelector('.notices').replaceChildren()")
    session.print(osc52("again") + b"and again")
    await terminal.shows("and again")
    await all_parsed(session)
    assert await terminal.page.inner_text(".notices") == ""
    assert await terminal.page.evaluate(CLIPBOARD) == "mine"


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_a_program_never_reads_it(terminal: Terminal, is_allowed: bool) -> None:
    terminal.broker.preferences["clipboard_write"] = is_allowed
    session = await terminal.open()
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    session.print(b"\x1b]52;c;?\x07\x1b]52;;?\x1b\\\x1b[5n")
    await wait_until(lambda: session.typed, "the answer to the query after it")
    assert bytes(session.typed) == b"\x1b[0n"
    assert await terminal.page.evaluate(CLIPBOARD) == "mine"


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b]52;c;not*base64\x07",
        osc52(b"\xff\xfe"),
        osc52("x" * (1024 * 1024 + 1)),
        b"\x1b]52\x07",
        b"\x1b]52;c;\x07",
    ],
    ids=["not base64", "not UTF-8", "over 1 MiB", "no data", "empty"],
)
async def test_nonsense_changes_nothing(terminal: Terminal, sequence: bytes) -> None:
    session = await allowed(terminal)
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    session.print(sequence + b"shown")
    await terminal.shows("shown")
    assert await terminal.page.evaluate(CLIPBOARD) == "mine"
    assert await terminal.page.inner_text(".notices") == ""


async def test_a_mebibyte_is_taken(terminal: Terminal) -> None:
    session = await allowed(terminal)
    session.print(osc52("x" * 1024 * 1024))
    await terminal.page.get_by_text("web1 put 1048576 characters into the clipboard.").wait_for()


async def test_a_replay_writes_nothing(terminal: Terminal) -> None:
    session = await allowed(terminal)
    session.print(osc52("from the program") + b"shown")
    await holds(terminal, "from the program")
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    await terminal.page.reload()
    await terminal.is_state("live")
    await terminal.shows("shown")
    await all_parsed(session)
    assert await terminal.page.evaluate(CLIPBOARD) == "mine"


async def select_by_mouse(terminal: Terminal) -> None:
    """Drags over the first row."""
    box = await terminal.page.locator(".xterm-screen").bounding_box()
    assert box is not None
    await terminal.page.mouse.move(box["x"] + 2, box["y"] + 8)
    await terminal.page.mouse.down()
    await terminal.page.mouse.move(box["x"] + 400, box["y"] + 8, steps=4)
    await terminal.page.mouse.up()


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_what_is_selected_is_copied_where_that_is_wanted(terminal: Terminal, is_wanted: bool) -> None:
    terminal.broker.preferences["copy_on_select"] = is_wanted
    session = await terminal.open()
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    session.print(b"select me\r\nnot me")
    await terminal.shows("not me")
    await select_by_mouse(terminal)
    if not is_wanted:
        await terminal.page.get_by_role("button", name="Find").click()  # anything that takes a moment
        assert await terminal.page.evaluate(CLIPBOARD) == "mine"
        await terminal.page.keyboard.press("Escape")
        await terminal.page.keyboard.press("Control+Shift+C")
    await holds(terminal, "select me")


@pytest.mark.parametrize("way", ["on select", "by key"])
async def test_copying_works_without_the_api_of_secure_pages(terminal: Terminal, way: str) -> None:
    terminal.broker.preferences["copy_on_select"] = way == "on select"
    await terminal.page.add_init_script(NO_API)
    session = await terminal.open()
    session.print(b"select me\r\nnot me")
    await terminal.shows("not me")
    await terminal.page.evaluate("window.copied = []")
    await terminal.page.evaluate(
        "document.addEventListener('copy', (event) => setTimeout(() => copied.push(1)), { capture: true })"
    )
    await select_by_mouse(terminal)
    if way == "by key":
        await terminal.page.keyboard.press("Control+Shift+C")
    await terminal.page.wait_for_function("() => copied.length > 0")
    await terminal.page.evaluate("""() => {
        const field = document.createElement("textarea");
        field.id = "probe";
        document.body.append(field);
        field.focus();
    }""")
    await terminal.page.keyboard.press("Control+V")
    assert await terminal.page.input_value("#probe") == "select me"
