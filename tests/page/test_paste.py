"""Pasting: shown before it goes, byte for byte, paced, called back, and never a way out of bracketed paste."""

from __future__ import annotations

import hashlib

import pytest

from .conftest import Terminal
from .fake_broker import Session, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASTE = """text => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const target = document.querySelector("[data-active] .xterm-helper-textarea");
    target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""
QUESTION = "#paste[open]"
OPENING, CLOSING = b"\x1b[200~", b"\x1b[201~"


async def paste(terminal: Terminal, text: str, *, is_asked: bool = True) -> None:
    """Pastes, and says yes where that is asked."""
    await terminal.page.evaluate(PASTE, text)
    if is_asked:
        await terminal.page.wait_for_selector(QUESTION)
        await terminal.page.keyboard.press("Enter")


async def bracketed(terminal: Terminal) -> Session:
    session = await terminal.open()
    session.print(b"\x1b[?2004hready")
    await terminal.shows("ready")
    return session


async def test_escapes_cannot_leave_bracketed_paste(terminal: Terminal) -> None:
    session = await bracketed(terminal)
    await paste(terminal, "echo a\x1b[201~\x9b201~\nrm -rf /\x03\x00")
    expected = OPENING + b"echo a[201~201~\rrm -rf /" + CLOSING
    await wait_until(lambda: len(session.typed) >= len(expected), "the paste")
    assert bytes(session.typed) == expected
    assert "Control characters were left out" in await terminal.page.inner_text(".notices")


@pytest.mark.parametrize("mode", ["plain", "bracketed"])
async def test_a_megabyte_arrives_byte_for_byte(terminal: Terminal, mode: str) -> None:
    session = await (bracketed(terminal) if mode == "bracketed" else terminal.open())
    text = "".join(f"{number:07d} grüße\r\n" for number in range(65_000))
    await paste(terminal, text)
    expected = text.replace("\r\n", "\r").encode()
    if mode == "bracketed":
        expected = OPENING + expected + CLOSING
    assert len(expected) > 1_000_000
    await wait_until(lambda: len(session.typed) >= len(expected), "the whole paste")
    assert hashlib.sha256(session.typed).digest() == hashlib.sha256(expected).digest()
    await terminal.page.wait_for_selector(".pasting", state="hidden")


async def test_a_paste_waits_for_a_host_that_does_not_read(terminal: Terminal) -> None:
    session = await terminal.open()
    session.acks_input = False
    await paste(terminal, "x" * 300_000)
    await wait_until(lambda: len(session.typed) == 64 * 1024, "as much as may be unacknowledged")
    session.acks_input = True
    session.socket.send({"type": "input_ack", "offset": len(session.typed)})
    await wait_until(lambda: len(session.typed) == 300_000, "the rest")


async def test_progress_follows_what_the_host_has_taken(terminal: Terminal) -> None:
    session = await terminal.open()
    session.acks_input = False
    await paste(terminal, "x" * 1_024_000)
    await terminal.page.wait_for_selector(".pasting")
    session.socket.send({"type": "input_ack", "offset": 10 * 1024})
    words = terminal.page.locator(".pasting .words")
    await words.get_by_text("Pasting: 10 of 1000 KiB").wait_for()
    assert await terminal.page.evaluate("document.querySelector('.pasting progress').position") == 0.01
    session.acks_input = True
    session.socket.send({"type": "input_ack", "offset": len(session.typed)})
    await wait_until(lambda: len(session.typed) == 1_024_000, "the rest")
    await terminal.page.wait_for_selector(".pasting", state="hidden")


@pytest.mark.parametrize("way", ["button", "interrupt"])
async def test_a_paste_can_be_called_back(terminal: Terminal, way: str) -> None:
    """What was not sent is dropped, but the program is not left in bracketed paste."""
    session = await bracketed(terminal)
    session.acks_input = False
    await paste(terminal, "x" * 500_000)
    await terminal.page.wait_for_selector(".pasting")
    await wait_until(lambda: len(session.typed) == 64 * 1024, "the first part")
    if way == "button":
        await terminal.page.get_by_role("button", name="Cancel").click()
        await terminal.page.keyboard.type("y")
    else:
        await terminal.page.keyboard.press("Control+C")
    last = b"y" if way == "button" else b"\x03"
    await wait_until(lambda: session.typed.endswith(last), "the key after it")
    assert session.typed[64 * 1024 :] == CLOSING + last
    assert session.typed.count(CLOSING) == 1
    await terminal.page.wait_for_selector(".pasting", state="hidden")
    assert "did not go to the host" in await terminal.page.inner_text(".notices")


@pytest.mark.parametrize(
    "text",
    ["one\ntwo", "ends\n", "bell\x07", "x" * 5000],
    ids=["two lines", "a line with its end", "a control character", "a long line"],
)
async def test_it_is_shown_first(terminal: Terminal, text: str) -> None:
    session = await terminal.open()
    await paste(terminal, text, is_asked=False)
    await terminal.page.wait_for_selector(QUESTION)
    await terminal.page.keyboard.press("Escape")
    await terminal.page.wait_for_selector(QUESTION, state="hidden")
    await terminal.page.keyboard.type("n")
    await wait_until(lambda: session.typed, "the key after it")
    assert bytes(session.typed) == b"n", "what was not agreed to went to the host"


async def test_a_line_goes_at_once(terminal: Terminal) -> None:
    session = await terminal.open()
    await paste(terminal, "echo\there", is_asked=False)
    await wait_until(lambda: bytes(session.typed) == b"echo\there", "the line")


async def test_a_line_end_does_not_run_in_bracketed_paste(terminal: Terminal) -> None:
    session = await bracketed(terminal)
    await paste(terminal, "ls\n", is_asked=False)
    await wait_until(lambda: bytes(session.typed) == OPENING + b"ls\r" + CLOSING, "the line")


async def test_the_question_shows_what_would_go(terminal: Terminal) -> None:
    await terminal.open()
    text = "curl evil\x1b[2K\r\n\u202eshown\n" + "\n".join(f"line {number}" for number in range(3, 31))
    await paste(terminal, text, is_asked=False)
    await terminal.page.wait_for_selector(QUESTION)
    assert await terminal.page.inner_text("#paste .title") == "Paste 30 lines into web1?"
    shown = (await terminal.page.inner_text("#paste .text")).split("\n")
    assert shown[:3] == ["curl evil␛[2K", "‹202E›shown", "line 3"]
    assert len(shown) == 12
    assert "18 more lines" in await terminal.page.inner_text("#paste .facts")
    assert await terminal.page.inner_text("#paste .controls") == (
        "1 control character, shown as ␛ and the like, will be left out."
    )
    assert await terminal.page.is_hidden("#paste .runs") is True
    await terminal.page.keyboard.press("Escape")


async def test_it_can_be_told_not_to_ask_again(terminal: Terminal) -> None:
    session = await terminal.open()
    await paste(terminal, "one\ntwo", is_asked=False)
    await terminal.page.get_by_label("Do not ask again").check()
    await terminal.page.get_by_role("button", name="Paste", exact=True).last.click()
    await wait_until(lambda: bytes(session.typed) == b"one\rtwo", "the paste")
    await wait_until(lambda: terminal.broker.preferences["confirm_paste"] is False, "the preference")
    await paste(terminal, "three\nfour", is_asked=False)
    await wait_until(lambda: session.typed.endswith(b"three\rfour"), "the second, unasked")


async def test_nothing_is_typed_in_the_middle_of_a_paste(terminal: Terminal) -> None:
    session = await bracketed(terminal)
    session.acks_input = False
    await paste(terminal, "x" * 100_000)
    await wait_until(lambda: len(session.typed) == 64 * 1024, "the first part")
    await terminal.page.keyboard.type("key")
    session.acks_input = True
    session.socket.send({"type": "input_ack", "offset": len(session.typed)})
    await wait_until(lambda: session.typed.endswith(b"key"), "the keys")
    assert bytes(session.typed) == OPENING + b"x" * 100_000 + CLOSING + b"key"


async def test_a_paste_lives_through_a_cut(terminal: Terminal) -> None:
    session = await terminal.open()
    session.acks_input = False
    await paste(terminal, "".join(f"{number:05d}" for number in range(40_000)))
    await wait_until(lambda: len(session.typed) == 64 * 1024, "the first part")
    session.socket.cut()
    session.socket = None
    session.acks_input = True
    await wait_until(lambda: len(session.typed) == 200_000, "the rest, over another socket")
    assert bytes(session.typed) == "".join(f"{number:05d}" for number in range(40_000)).encode()


async def test_an_end_takes_the_progress_away(terminal: Terminal) -> None:
    session = await terminal.open()
    session.acks_input = False
    await paste(terminal, "x" * 500_000)
    await terminal.page.wait_for_selector(".pasting")
    session.socket.send({"type": "exit", "status": 0})
    session.socket.close(1000, "ended")
    await terminal.is_state("ended")
    assert await terminal.page.is_hidden(".pasting")
    await terminal.page.evaluate(PASTE, "late")
    await terminal.page.wait_for_timeout(500)  # longer than it takes to show
    assert await terminal.page.is_hidden(".pasting")
