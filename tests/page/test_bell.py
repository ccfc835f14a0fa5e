"""The bell: seen, heard or neither, and never too often."""

from __future__ import annotations

import itertools

import pytest

from .conftest import Terminal
from .fake_broker import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

COUNT_FLASHES = """() => {
    window.flashes = [];
    new MutationObserver(() => {
        if (document.querySelector("[data-rings]")) flashes.push(performance.now());
    }).observe(document.body, { subtree: true, attributeFilter: ["data-rings"] });
}"""
COUNT_TONES = """() => {
    window.tones = 0;
    window.AudioContext = class extends AudioContext {
        constructor() {
            super();
            window.audio = this;
        }
    };
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...when) {
        tones += 1;
        return start.apply(this, when);
    };
}"""


async def is_still(terminal: Terminal) -> None:
    """No flash is shown any more."""
    await terminal.page.wait_for_function("() => document.querySelector('[data-rings]') === null")


async def ring(terminal: Terminal, data: bytes) -> None:
    """The host prints it, and everything is parsed."""
    session = terminal.broker.session
    session.print(data + b"rung")
    await terminal.shows("rung")
    await wait_until(lambda: session.socket.acked == len(session.output), "all parsed")


@pytest.mark.parametrize(
    ("choice", "flashes", "tones"), [("visual", 1, 0), ("sound", 0, 1), ("both", 1, 1), ("none", 0, 0)]
)
async def test_it_rings_as_the_person_likes(terminal: Terminal, choice: str, flashes: int, tones: int) -> None:
    terminal.broker.preferences["bell"] = choice
    await terminal.open()
    await terminal.page.mouse.click(500, 300)  # sound takes a page in which somebody did something
    await terminal.page.evaluate(COUNT_FLASHES)
    await terminal.page.evaluate(COUNT_TONES)
    if tones:
        await ring(terminal, b"\x07")  # wakes the sound up
        await terminal.page.wait_for_function("() => window.audio.state === 'running'")
        await terminal.page.wait_for_timeout(500)  # longer than it keeps still
        await is_still(terminal)
        await terminal.page.evaluate("window.flashes = []; window.tones = 0")
    await ring(terminal, b"\x07")
    await terminal.page.wait_for_timeout(300)
    assert await terminal.page.evaluate("[flashes.length, tones]") == [flashes, tones]


async def test_it_flashes_three_times_a_second_at_most(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.evaluate(COUNT_FLASHES)
    for now in range(0, 1500, 25):
        await terminal.page.evaluate("now => { performance.now = () => now; }", now)
        session.print(b"\x07\x07\x07")
        await wait_until(lambda: session.socket.acked == len(session.output), "all parsed")
        await is_still(terminal)
    times = await terminal.page.evaluate("flashes")
    assert len(times) >= 3
    assert all(later - earlier > 333 for earlier, later in itertools.pairwise(times))


async def test_a_replay_does_not_ring(terminal: Terminal) -> None:
    session = await terminal.open()
    await ring(terminal, b"\x07")
    await terminal.page.add_init_script(f"addEventListener('DOMContentLoaded', {COUNT_FLASHES})")
    await terminal.page.reload()
    await terminal.is_state("live")
    await terminal.shows("rung")
    await wait_until(lambda: session.socket and session.socket.acked == len(session.output), "the replay parsed")
    assert await terminal.page.evaluate("flashes.length") == 0
    session.print(b"\x07")
    await terminal.page.wait_for_function("() => flashes.length === 1")


async def test_without_motion_it_is_a_line(terminal: Terminal) -> None:
    await terminal.page.emulate_media(reduced_motion="reduce")
    await terminal.open()
    style = await terminal.page.evaluate("""() => {
        const pane = document.querySelector(".pane[data-active]");
        pane.toggleAttribute("data-rings", true);
        const { animationName, borderTopWidth } = getComputedStyle(pane.querySelector(".view"), "::after");
        pane.toggleAttribute("data-rings", false);
        return [animationName, borderTopWidth];
    }""")
    assert style == ["none", "2px"]
