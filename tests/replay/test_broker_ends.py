"""A broker that ends while a recording is indexed, however it ends, leaves no process behind, and does it later."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from terminals.replay.search import search
from tests.story.broker import Broker, copy_of_template, until

MAKE = """
from tests.people.helpers import make_host
from tests.replay.helpers import record
from terminals.people import find_person
print("session", record(find_person("alice"), make_host("web1"), indexed=False).pk)
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Not started; a recording waits in it."""
    made = copy_of_template(tmp_path_factory.mktemp("ends") / "data")
    yield made
    if made.process and made.process.poll() is None:
        made.stop()


@pytest.fixture(scope="module")
def session(broker: Broker) -> str:
    return broker.do(MAKE).split("session ")[1].strip()


@pytest.fixture
def stuck(broker: Broker, session: str) -> Iterator[int]:
    """The worker of a broker that is up. It waits for somebody to write the recording: its file is a pipe."""
    (cast,) = (broker.data_dir / "recordings").glob(f"*/*/{session}.cast.zst")
    aside = cast.rename(cast.with_suffix(".aside"))
    os.mkfifo(cast)
    broker.start()
    yield until(lambda: worker_of(broker), "it has a worker", 60)
    aside.rename(cast)


def worker_of(broker: Broker) -> int | None:
    for pid in children(broker):
        with suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
            if b"terminals.replay.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def children(broker: Broker) -> list[int]:
    assert broker.process
    found: list[int] = []
    for task in Path(f"/proc/{broker.process.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it goes while it is looked at
        return False


def test_asked_to_stop(broker: Broker, stuck: int):
    assert broker.stop() == 0
    assert not is_running(stuck)


def test_killed(broker: Broker, stuck: int):
    assert broker.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not is_running(stuck), "its worker is gone", 60)


def test_the_next_start_does_it(broker: Broker, session: str):
    assert not list((broker.data_dir / "recordings").glob(f"*/*/{session}.index.zst"))
    broker.start()
    replay = f"/sessions/{session}/replay"
    until(lambda: broker.api("GET", replay, person="alice")["state"] == "ready", "it is ready", 60)
    assert [str(hit.session_id) for hit in search(broker.data_dir / "recordings", "greeting", None, 5)] == [session]
