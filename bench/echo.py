"""From a key to its echo: the distant program is `cat` in a raw pty, so that nothing but the way is measured."""

from __future__ import annotations

import gc
import time

from bench.effort import Effort
from bench.figures import Figure, percentile
from bench.stage import Stage
from bench.terminal import Terminal

PAUSE_S = 0.003
"""Between keys: a person's pause, shortened. Long enough that everything along the way has gone to sleep."""


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    middle = Figure("echo p50", "ms", "2.5x", most=2.5)
    slow = Figure("echo p99", "ms", "2x", most=2)
    with stage.terminals() as terminals:
        for terminal in terminals:
            terminal.run("stty raw -echo; exec cat")
            _type(terminal, 50)
        for _ in range(effort.echo_blocks):
            for terminal, kept in zip(terminals, ("ours", "stock"), strict=True):
                echoes = _type(terminal, effort.keys)
                getattr(middle, kept).append(percentile(echoes, 50))
                getattr(slow, kept).append(percentile(echoes, 99))
    return [middle, slow]


def _type(terminal: Terminal, keys: int) -> list[float]:
    """Milliseconds from each key to its echo."""
    taken = []
    gc.disable()  # ours would be a pause of the measuring side
    for _ in range(keys):
        begun = time.perf_counter()
        terminal.write(b"x")
        terminal.read()
        taken.append((time.perf_counter() - begun) * 1000)
        terminal.settle()
        time.sleep(PAUSE_S)
    gc.enable()
    return taken
