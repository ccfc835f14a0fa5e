"""The page in Debian's Chromium against the fake broker; one browser for the folder, a fresh context for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.chromium import ARGUMENTS, CHROMIUM, require

from .fake_broker import Broker, Session


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

    async def open(self) -> Session:
        await self.page.goto(self.broker.url)
        await self.is_state("live")
        return await self.broker.live()

    async def is_state(self, state: str) -> None:
        await self.page.wait_for_selector(f"body[data-state={state}]", timeout=10_000)

    async def shows(self, text: str) -> None:
        """Waits until the terminal shows the text."""
        await self.page.wait_for_function("text => brokerdScreen.text().includes(text)", arg=text, timeout=10_000)

    async def panel(self) -> tuple[str, str, list[str]]:
        """Title, words and offers of the end panel."""
        await self.page.wait_for_selector(".pane[data-active] .panel:not([hidden])", timeout=10_000)
        words = await self.page.inner_text(".pane[data-active] .panel .words")
        return (
            await self.page.inner_text(".pane[data-active] .panel .title"),
            " ".join(words.split("\n")[1:]),
            await self.page.locator(".pane[data-active] .offers button").all_inner_texts(),
        )


@pytest_asyncio.fixture(loop_scope="session")
async def terminal(page: Page, broker: Broker) -> Terminal:
    return Terminal(page, broker)
