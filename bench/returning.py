"""After a restart of the broker: all agents come back at once, each by itself, and people want to log in meanwhile."""

from __future__ import annotations

import subprocess
import threading
import time

from bench.agents import connected, enroll
from bench.effort import Effort
from bench.figures import OURS, Figure
from bench.ours import PERSON
from bench.stage import Stage
from tests.story.client import Client

PAUSE_S = 0.5
PATIENCE_S = 60


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    count = f"{effort.agents:,} agents"
    back = Figure(f"{count} back after a restart", "s", "60 s", most=60, is_absolute=True)
    login = Figure(f"ssh login while {count} come back, slowest", "s", is_absolute=True)
    refused = Figure(f"of these tries, turned away while {count} come back", "%", is_absolute=True)
    client = Client(stage.folder / "person", stage.broker, PERSON)
    client.add_key()
    with connected(enroll(stage, effort.agents)) as wait_until_back:
        stage.broker.stop()
        stage.broker.start()
        begun = time.monotonic()
        visits = Visits(client)
        wait_until_back()
        back.add(OURS, time.monotonic() - begun)
        visits.stop()
    login.add(OURS, max(visits.taken_s, default=PATIENCE_S))
    refused.add(OURS, 100 * visits.refused / max(1, visits.refused + len(visits.taken_s)))
    stage.restart_broker()
    return [back, login, refused]


class Visits:
    """A person who logs in again and again, by `ssh alice@broker`, in a thread."""

    def __init__(self, client: Client) -> None:
        self.taken_s: list[float] = []
        self.refused = 0
        self._client = client
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._visit)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._is_over.wait(PAUSE_S):
            begun = time.monotonic()
            command = self._client.command(PERSON)
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE_S
            )
            if done.returncode == 0:
                self.taken_s.append(time.monotonic() - begun)
            else:
                self.refused += 1
