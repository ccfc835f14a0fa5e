"""A real Chromium for what is compared with the page's own emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chromium import chromium_running

from .emulator import Emulator


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with chromium_running() as browser:
        emulator = Emulator(browser)
        yield emulator
        emulator.close()
