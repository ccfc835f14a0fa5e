"""The page in Debian's Chromium against the fake broker; one browser for the folder, a fresh context for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.chromium import ARGUMENTS, CHROMIUM, require

from .fake_broker import Broker, Session, person, wait_until

PAUSED_AFTER_S = 5
"""So little time is skipped that it does not look like a sleep, and more than a look at the clock takes."""
HOLD_PARSING = """() => {
    window.heldTimers = [];
    window.setTimeout = ((later) => (act, ms, ...rest) => {
        if (ms > 0) return later(act, ms, ...rest);
        window.heldTimers.push(act);
        return 0;
    })(window.setTimeout);
}"""
"""The emulator parses what it is given in timeouts of 0 ms."""
GO_ON_PARSING = """() => {
    const held = window.heldTimers;
    window.heldTimers = { push: (act) => Promise.resolve().then(act) };
    held.forEach((act) => act());
}"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    require()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def broker() -> AsyncIterator[Broker]:
    async with Broker().serve() as broker:
        yield broker
    assert broker.violations == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Browser, broker: Broker) -> AsyncIterator[Page]:
    """A blank page. Anything that the console calls an error, and every CSP violation, fails the test."""
    context = await chromium.new_context(viewport={"width": 1000, "height": 600})
    await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=broker.url.partition("/hosts")[0])
    page = await context.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        expected = "Failed to load resource" in message.text or "WebSocket connection to" in message.text
        if message.type == "error" and not expected:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert complaints == []


class Terminal:
    """The page with a live terminal, as a person sees it."""

    def __init__(self, page: Page, broker: Broker) -> None:
        self.page, self.broker = page, broker
        self._marks = 0

    async def open(self) -> Session:
        await self.page.goto(self.broker.url)
        await self.is_state("live")
        return await self.broker.live()

    async def is_state(self, state: str) -> None:
        await self.page.wait_for_selector(f"body[data-state={state}]")

    async def shows(self, text: str) -> None:
        """Waits until the terminal shows the text."""
        await self.page.wait_for_function("text => brokerdScreen.text().includes(text)", arg=text)

    async def has_arrived(self, session: Session) -> None:
        """All that was sent is with the page: it shows what came last and waits for no emulator."""
        self._marks += 1
        name = f"bob{self._marks}"
        session.show_people(person("v1", "alice"), person("v2", name))
        await self.page.locator(".pane[data-active] .person").filter(has_text=name).wait_for()

    async def hold_parsing(self) -> None:
        await self.page.evaluate(HOLD_PARSING)

    async def go_on_parsing(self) -> None:
        await self.page.evaluate(GO_ON_PARSING)

    async def pause(self, session: Session) -> None:
        """The clock of the page, which is installed, stands still from now on; nothing that it asked is unanswered."""
        await wait_until(lambda: any(text["type"] == "ping" for text in session.socket.texts), "the first ping")
        now = await self.page.evaluate("Date.now()")
        await self.page.clock.pause_at(now / 1000 + PAUSED_AFTER_S)
        await self.has_arrived(session)

    async def pass_time(self, session: Session, ms: int) -> None:
        """The paused clock goes on. The broker is heard in between, so that the connection does not seem dead."""
        for at in range(0, ms, 10_000):
            await self.page.clock.run_for(min(10_000, ms - at))
            await self.has_arrived(session)

    async def panel(self) -> tuple[str, str, list[str]]:
        """Title, words and offers of the end panel."""
        await self.page.wait_for_selector(".pane[data-active] .panel:not([hidden])")
        words = await self.page.inner_text(".pane[data-active] .panel .words")
        return (
            await self.page.inner_text(".pane[data-active] .panel .title"),
            " ".join(words.split("\n")[1:]),
            await self.page.locator(".pane[data-active] .offers button").all_inner_texts(),
        )


@pytest_asyncio.fixture(loop_scope="session")
async def terminal(page: Page, broker: Broker) -> Terminal:
    return Terminal(page, broker)
