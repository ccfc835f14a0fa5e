"""Bytes from keyboard to host and from host to screen."""

import pytest

from .conftest import Terminal
from .fake_broker import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_typing_arrives_byte_for_byte(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.keyboard.type("echo grüße ✓")
    for key in ("Enter", "Control+C", "Escape", "ArrowUp", "Tab", "Backspace", "Control+R"):
        await terminal.page.keyboard.press(key)
    expected = "echo grüße ✓\r\x03\x1b\x1b[A\t\x7f\x12".encode()
    await wait_until(lambda: len(session.typed) >= len(expected), "what was typed")
    assert bytes(session.typed) == expected


async def test_what_is_typed_before_the_session_opens_goes_to_it(terminal: Terminal) -> None:
    await terminal.page.goto(terminal.broker.url, wait_until="commit")
    await terminal.page.wait_for_selector(".xterm-helper-textarea", state="attached")
    await terminal.page.keyboard.type("ls\r")
    session = await terminal.broker.live()
    await wait_until(lambda: bytes(session.typed) == b"ls\r", "early keys")


async def test_invalid_utf8_does_not_break_the_screen(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"before \xff\xfe\xc3( \x80 after\r\n" + "whole: é".encode()[:-1])
    session.print("é".encode()[-1:] + b" end")
    await terminal.shows("whole: é end")
    await terminal.shows("after")
