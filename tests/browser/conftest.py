"""A real Chromium. Screenshots go to test-results/, which git ignores; `make screenshots` takes from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.desk import Desk
from tests.chromium import chromium_running
from tests.story.broker import Broker, running
from tests.story.machine import Machine, terminal_host

RESULTS = Path(__file__).resolve().parents[2] / "test-results"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


def complaints_of(page: Page) -> list[str]:
    """What the console calls an error from now on: a CSP violation, a script that fails."""
    found: list[str] = []
    page.on(
        "console",
        lambda message: found.append(f"{message.text} {message.location}") if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def shot(page: Page, name: str, *, height: int = 800) -> None:
    """A picture of the page, or of its upper part."""
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / f"{name}.png", clip={"x": 0, "y": 0, "width": 1280, "height": height})


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("desk") / "data") as running_broker:
        yield running_broker


@pytest.fixture(scope="session")
def web1(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that is online for the whole run, where alice has a terminal."""
    with terminal_host(tmp_path_factory.mktemp("machines"), "web1", broker) as made:
        yield made


@pytest.fixture(scope="module")
def desk(broker: Broker, web1: Machine, chromium: Browser) -> Desk:
    return Desk(broker, web1, chromium)
