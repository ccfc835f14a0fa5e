"""One broker for the whole folder, with one machine on it; tests that end or cut something bring their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.needs import missing
from tests.story.broker import Broker, running
from tests.story.machine import SSHD, Machine, machine, terminal_host

HASTY = {
    "BROKERD_SESSION_GRACE": "4",
    "BROKERD_IDLE_TIMEOUT": "6",
    "BROKERD_MAX_SESSION": "10",
    "BROKERD_KEEPALIVE": "1",
}
_numbers = count(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The one place that knows what `sshd` needs: without it a test is skipped, or fails where nothing may be."""
    if item.get_closest_marker("sshd") and not Path(SSHD).exists():
        missing(f"{SSHD} is missing: install the Debian package openssh-server")


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
def stern_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """As the hasty one, but with the usual limits: grants set others, and who stalls is dropped soon."""
    with running(tmp_path_factory.mktemp("stern") / "data", "-m", "tests.story.hasty") as running_broker:
        yield running_broker


@pytest.fixture(scope="session")
def web1(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that is online for the whole run, where alice has a terminal."""
    with terminal_host(tmp_path_factory.mktemp("machines"), "web1", broker) as made:
        yield made


@pytest.fixture(scope="session")
def hasty1(hasty_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """`web1`, on the hasty broker."""
    with terminal_host(tmp_path_factory.mktemp("machines"), "hasty1", hasty_broker) as made:
        yield made


@pytest.fixture(scope="session")
def stern1(stern_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """`web1`, on the stern broker."""
    with terminal_host(tmp_path_factory.mktemp("machines"), "stern1", stern_broker) as made:
        yield made


@pytest.fixture
def fresh(broker: Broker, tmp_path: Path) -> Iterator[Machine]:
    """A machine of this test's own, with keys and nothing else yet."""
    with machine(tmp_path, f"fresh{next(_numbers)}", broker) as made:
        yield made
