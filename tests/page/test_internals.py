"""What the page uses of xterm.js that is not public: a new version that takes it away is noticed here."""

from __future__ import annotations

import pytest

from .conftest import Terminal

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Its own terminal, so that the page needs no hole for tests.
PROBE = """async () => {
    const { Terminal } = await import("/static/vendor/xterm.mjs");
    const internals = await import("/static/terminals/internals.js");
    const terminal = new Terminal();
    const seen = [];
    internals.onUserInput(terminal, () => seen.push("user"));
    terminal.onData((data) => seen.push(data));
    terminal.input("typed");
    await new Promise((parsed) => terminal.write("\\x1b[c", parsed));
    terminal.write("first");
    const line = () => terminal.buffer.active.getLine(0).translateToString(true);
    const afterPlainWrite = line();
    await new Promise((parsed) => terminal.write("", parsed));
    internals.parseNextWriteAtOnce(terminal);
    terminal.write(" second");
    const atOnce = line();
    await new Promise((parsed) => terminal.write("\\x1b[5;9r\\x1b[7;7H", parsed));
    internals.clearForOtherColumns(terminal);
    await new Promise((parsed) => terminal.write("home", parsed));
    const cleared = line();
    internals.boundCounts(terminal);
    const begun = performance.now();
    const many = ["L", "M", "S", "T", "I", "Z"].map((final) => `\\x1b[2147483647${final}`).join("");
    await new Promise((parsed) => terminal.write(`\\x1b[H\\x1b[2Jab\\x1b[2147483647b${many}\\x1b[Hdone`, parsed));
    return { seen, afterPlainWrite, atOnce, cleared, bounded: line(), tookMs: performance.now() - begun };
}"""


async def test_the_unpublished_parts_are_there(terminal: Terminal) -> None:
    await terminal.open()
    found = await terminal.page.evaluate(PROBE)
    assert found["seen"] == ["user", "typed", "\x1b[?1;2c"], "what a person did is told from what the emulator says"
    assert found["afterPlainWrite"] == "", "else the second is not needed any more"
    assert found["atOnce"] == "first second", "the next write is parsed at once"
    assert found["cleared"] == "home", "without its text, and with the cursor in the corner"
    assert found["bounded"] == "done", "what is repeated without end ends"
    assert found["tookMs"] < 5000
