"""Pasting: byte for byte, paced, and never a way out of bracketed paste."""

from __future__ import annotations

import hashlib

import pytest

from .conftest import Terminal
from .fake_broker import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASTE = """text => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const target = document.querySelector(".xterm-helper-textarea");
    target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


async def test_escapes_cannot_leave_bracketed_paste(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"\x1b[?2004hready")
    await terminal.shows("ready")
    await terminal.page.evaluate(PASTE, "echo a\x1b[201~\x9b201~\nrm -rf /\x03\x00")
    expected = b"\x1b[200~echo a[201~201~\rrm -rf /\x1b[201~"
    await wait_until(lambda: len(session.typed) >= len(expected), "the paste")
    assert bytes(session.typed) == expected
    assert "Control characters were left out" in await terminal.page.inner_text("#notices")


async def test_a_megabyte_arrives_byte_for_byte(terminal: Terminal) -> None:
    session = await terminal.open()
    text = "".join(f"{number:07d} grüße\n" for number in range(65_000))
    await terminal.page.evaluate(PASTE, text)
    expected = text.replace("\n", "\r").encode()
    assert len(expected) > 1_000_000
    await wait_until(lambda: len(session.typed) >= len(expected), "the whole paste")
    assert hashlib.sha256(session.typed).digest() == hashlib.sha256(expected).digest()


async def test_a_paste_waits_for_a_host_that_does_not_read(terminal: Terminal) -> None:
    session = await terminal.open()
    session.acks_input = False
    await terminal.page.evaluate(PASTE, "x" * 300_000)
    await wait_until(lambda: len(session.typed) == 64 * 1024, "as much as may be unacknowledged")
    session.acks_input = True
    session.socket.send({"type": "input_ack", "offset": len(session.typed)})
    await wait_until(lambda: len(session.typed) == 300_000, "the rest")
