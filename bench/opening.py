"""From the click to the first byte of the shell: the first terminal on a host, and one more on a host in use."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Protocol

from bench.effort import Effort
from bench.figures import OURS, STOCK, Figure
from bench.stage import Stage
from bench.terminal import Terminal


class Clickable(Protocol):
    def click(self) -> Terminal: ...


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    return [_first(stage, effort), *_on_host_in_use(stage, effort)]


def _first(stage: Stage, effort: Effort) -> Figure:
    figure = Figure("open, click to first byte", "ms", "0.3x", most=0.3)
    for side in stage.sides:
        open_once(side)
    for _ in range(effort.opens):
        for side in stage.sides:
            figure.add(side.name, open_once(side))
    return figure


def _on_host_in_use(stage: Stage, effort: Effort) -> list[Figure]:
    """While the person has a terminal there. Stock ssh has two ways: once more, or through a master connection."""
    anew = Figure("open, on a host in use", "ms", "0.05x", most=0.05)
    mastered = Figure("the same, ssh with ControlMaster", "ms")
    with closing(stage.ours.click()) as terminal, stage.stock.master() as master:
        terminal.prepare()
        for _ in range(effort.opens):
            ours = open_once(stage.ours)
            for figure, peer in ((anew, stage.stock), (mastered, master)):
                figure.add(OURS, ours)
                figure.add(STOCK, open_once(peer))
    return [anew, mastered]


def open_once(side: Clickable) -> float:
    """Milliseconds; the terminal is closed again."""
    begun = time.perf_counter()
    terminal = side.click()
    terminal.read()
    taken = (time.perf_counter() - begun) * 1000
    terminal.prepare()
    terminal.close()
    time.sleep(0.1)
    return taken
