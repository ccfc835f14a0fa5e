"""Debian's Chromium for the tests: where it is, how it is started, and what happens where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright import async_api, sync_api
from playwright.sync_api import Browser, sync_playwright

from tests.needs import missing

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EXPECT_MS = 30_000
"""How long `expect` waits; the 5 s that it waits by itself are little on a machine that does much else."""
sync_api.expect.set_options(timeout=EXPECT_MS)
async_api.expect.set_options(timeout=EXPECT_MS)


def require() -> None:
    """Skip without it, or fail where a skip does not count."""
    if not Path(CHROMIUM).exists():
        missing(f"{CHROMIUM} is missing: install the Debian package chromium")


@contextmanager
def chromium_running(*arguments: str) -> Iterator[Browser]:
    """Not for a whole run: Playwright keeps an event loop in this thread, beside which no asyncio test can run."""
    require()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        yield browser
        browser.close()
