"""From the click to the first byte of the shell."""

from __future__ import annotations

import time

from bench.effort import Effort
from bench.figures import Figure
from bench.ours import Ours
from bench.stage import Stage
from bench.stock import Stock


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    figure = Figure("open, click to first byte", "ms", "0.5x", most=0.5)
    for side in stage.sides:
        _open(side)
    for _ in range(effort.opens):
        for side, kept in zip(stage.sides, (figure.ours, figure.stock), strict=True):
            kept.append(_open(side))
    return [figure]


def _open(side: Ours | Stock) -> float:
    begun = time.perf_counter()
    terminal = side.click()
    terminal.read()
    taken = (time.perf_counter() - begun) * 1000
    terminal.prepare()
    terminal.close()
    time.sleep(0.1)
    return taken
