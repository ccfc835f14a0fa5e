"""From a key to its echo, while another session of the same broker, or of the same stock server, floods.

Two floods: `yes`, which a pty slows down to some MB/s because its lines are so short, and a log, which comes as fast as
the way can carry it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench.echo import ECHO, type_keys
from bench.effort import Effort
from bench.figures import Figure, percentile
from bench.flood import flooding
from bench.stage import Stage

LINE = "2026-01-31T12:00:00.{0:06d}Z web1 app[1234]: request {0} was answered in 17 ms with status 200, /items/{0}\n"
LINES = 100_000
TIMES = 3000
"""The log is printed so often: more than anybody waits for."""


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    floods = {"yes": "yes", "a log": _log(stage.folder / "log")}
    middle = {name: Figure(f"echo beside {name} p50", "ms") for name in floods}
    slow = {name: Figure(f"echo beside {name} p99", "ms", "0.3x", most=0.3) for name in floods}
    with ExitStack() as stack:
        terminals = stack.enter_context(stage.terminals())
        flooders = {side.name: stack.enter_context(flooding(side)) for side in stage.sides}
        for terminal in terminals.values():
            terminal.run(ECHO)
        for _ in range(effort.neighbour_blocks):
            for name, command in floods.items():
                for side, terminal in terminals.items():
                    with flooders[side].of(command):
                        echoes = type_keys(terminal, effort.keys)
                    middle[name].add(side, percentile(echoes, 50))
                    slow[name].add(side, percentile(echoes, 99))
    return [figure for name in floods for figure in (middle[name], slow[name])]


def _log(path: Path) -> str:
    """The command that prints it."""
    path.write_text("".join(LINE.format(number) for number in range(LINES)))
    return f"cat $(printf '{path} %.0s' {{1..{TIMES}}})"
