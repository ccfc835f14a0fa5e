from __future__ import annotations

from dataclasses import replace

import pytest

import tunnels.api


@pytest.fixture(autouse=True)
def fresh_throttle():
    tunnels.api.throttle.clear()


@pytest.fixture
def open_enrollment(settings):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)
