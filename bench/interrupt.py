"""Ctrl-C under a flood: from the key to the next prompt, with a reader that keeps up and with ones that cannot."""

from __future__ import annotations

import time

from bench.effort import Effort
from bench.figures import Figure
from bench.shaping import Line
from bench.stage import Stage
from bench.terminal import PROMPT, Terminal

FLOOD_S = 1.0
SLOW_RATE = 5_000_000
"""Bytes a second that the slow reader shows."""
FAR_FLOOD_S = 3.0
"""Longer, so that what adapts to the line has time to."""
FAR_RATE = 1_000_000
FAR = Line(round_trip_s=0.1, rate=FAR_RATE)


class Reader:
    """Reads a terminal at most at `rate` bytes a second, without catching up on what it slept too long."""

    def __init__(self, terminal: Terminal, rate: int | None) -> None:
        self._terminal = terminal
        self._rate = rate
        self._due = time.perf_counter()

    def read(self) -> bytes:
        if self._rate is None:
            return self._terminal.read()
        data = self._terminal.read(8192)
        self._due = max(self._due + len(data) / self._rate, time.perf_counter() - 0.005)
        if (wait := self._due - time.perf_counter()) > 0.001:
            time.sleep(wait)
        return data


def near(stage: Stage, effort: Effort) -> list[Figure]:
    fast = Figure("Ctrl-C under yes", "ms", "1x", most=1)
    slow = Figure("Ctrl-C under yes, 5 MB/s reader", "ms", "0.15x", most=0.15)
    with stage.terminals() as terminals:
        for _ in range(effort.interrupts):
            for figure, rate in ((fast, None), (slow, SLOW_RATE)):
                for side, terminal in terminals.items():
                    figure.add(side, _interrupt(terminal, rate, FLOOD_S))
    return [fast, slow]


def far(stage: Stage, effort: Effort) -> list[Figure]:
    """With a slow page: 100 ms away, over a line of 1 MB/s, of which it shows as much."""
    figure = Figure("Ctrl-C under yes, slow page (100 ms, 1 MB/s)", "ms")
    with stage.far(FAR) as sides, stage.terminals(sides) as terminals:
        for _ in range(effort.slow_interrupts):
            for side, terminal in terminals.items():
                figure.add(side, _interrupt(terminal, FAR_RATE, FAR_FLOOD_S))
    return [figure]


def _interrupt(terminal: Terminal, rate: int | None, flood_s: float) -> float:
    terminal.write(b"yes\n")
    reader = Reader(terminal, rate)
    flooded = time.perf_counter() + flood_s
    while time.perf_counter() < flooded:
        reader.read()
    begun = time.perf_counter()
    terminal.interrupt()
    seen = b""
    while PROMPT not in seen:
        seen = seen[-len(PROMPT) :] + reader.read()
    taken = (time.perf_counter() - begun) * 1000
    terminal.settle()
    time.sleep(0.1)
    return taken
