"""From a key to its echo: the distant program is `cat` in a raw pty, so that nothing but the way is measured."""

from __future__ import annotations

import gc
import time

from bench.effort import Effort
from bench.figures import Figure, percentile
from bench.stage import Stage
from bench.terminal import Terminal

ECHO = "exec cat"
PAUSE_S = 0.003
"""Between keys: a person's pause, shortened. Long enough that everything along the way has gone to sleep."""


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    middle = Figure("echo p50", "ms", "2x", most=2)
    slow = Figure("echo p99", "ms", "1.2x", most=1.2)
    with stage.terminals() as terminals:
        for terminal in terminals.values():
            terminal.run(ECHO)
            type_keys(terminal, 50)
        for _ in range(effort.echo_blocks):
            for side, terminal in terminals.items():
                echoes = type_keys(terminal, effort.keys)
                middle.add(side, percentile(echoes, 50))
                slow.add(side, percentile(echoes, 99))
    return [middle, slow]


def type_keys(terminal: Terminal, keys: int) -> list[float]:
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
