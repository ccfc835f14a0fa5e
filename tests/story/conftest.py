"""One broker for the whole folder, with one machine on it; tests that end or cut something bring their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.story.broker import Broker, running
from tests.story.machine import SSHD, Machine, machine, terminal_grant

HASTY = {"BROKERD_SESSION_GRACE": "2", "BROKERD_IDLE_TIMEOUT": "3", "BROKERD_MAX_SESSION": "6", "BROKERD_KEEPALIVE": "1"}
_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The one place that knows what `sshd` needs: without it a test is skipped, or fails where nothing may be."""
    if Path(SSHD).exists():
        return
    missing = f"{SSHD} is missing: install the Debian package openssh-server"
    for item in items:
        if item.get_closest_marker("sshd"):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(autouse=True)
def _no_skip_in_ci(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("sshd") and os.environ.get("CI") == "true":
        assert Path(SSHD).exists(), f"{SSHD} is missing"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker") / "data") as running_broker:
        yield running_broker


@pytest.fixture(scope="session")
def hasty_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker whose every patience is a few seconds."""
    command = ("-m", "tests.story.hasty")
    with running(tmp_path_factory.mktemp("hasty") / "data", *command, **HASTY) as running_broker:
        yield running_broker


@pytest.fixture(scope="session")
def web1(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that is online for the whole run, where alice has a terminal."""
    with machine(tmp_path_factory.mktemp("machines"), "web1", broker) as made:
        made.bring_up(terminal_grant())
        yield made


@pytest.fixture
def fresh(broker: Broker, tmp_path: Path) -> Iterator[Machine]:
    """A machine of this test's own, with keys and nothing else yet."""
    with machine(tmp_path, f"fresh{next(_numbers)}", broker) as made:
        yield made
