from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from terminals.recording import recorder
from tests.people.helpers import make_host
from tunnels.models import Host


@pytest.fixture(autouse=True)
def folder(settings, tmp_path: Path) -> Path:
    """The data directory of this test alone."""
    settings.BROKERD = replace(settings.BROKERD, data_dir=tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has much to do is not one that does not answer."""
    for name in ("START_S", "SEAL_S"):
        monkeypatch.setattr(recorder, name, 60)


@pytest.fixture
def web1(db) -> Host:
    return make_host("web1", online=True)
