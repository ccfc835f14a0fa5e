"""Opens and closes terminals and agents for minutes, and says whether anything of them stays behind in the broker.

    make soak                      python -m bench.soak [--minutes 5]

Each round does what people do to a terminal: attach, type, flood, cut, resume, end in one of three ways; and a dozen
agents connect and drop. Between rounds nothing is open: then the broker is asked for its figures. Nothing fails: the
slopes are printed, and what is left at the end over what there was after the first rounds.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import linear_regression, median

from prometheus_client.parser import text_string_to_metric_families

from bench.agents import connected, enroll
from bench.ours import Ours, SocketTerminal
from bench.stage import Stage, staged
from bench.terminal import PROMPT, TerminalEnded
from tests.story.broker import until

PEOPLE = ("alice", "bob", "charlie", "dora")
"""At work at the same time."""
TERMINALS = 5
"""Of each of them, one after the other, in one round."""
AGENTS = 12
WARM_UP = 3
"""Rounds after which caches and pools count as filled."""
PATIENCE_S = 30
GRACE_S = 5
"""For so long the broker keeps the last output of what has ended, too; so short that the next round begins without."""
MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """The broker at rest."""

    hours: float
    terminals: int
    """Opened so far."""
    memory_mb: float
    descriptors: float
    tasks: float
    sessions: float
    tunnels: float

    @property
    def is_at_rest(self) -> bool:
        return self.sessions == 0 and self.tunnels == 1


MEASURED = ("memory_mb", "descriptors", "tasks")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="what terminals and agents leave behind")
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        tempfile.TemporaryDirectory(prefix="brokerd-soak-") as folder,
        staged(Path(folder), BROKERD_SESSION_GRACE=str(GRACE_S)) as stage,
    ):
        samples = soak(stage, options.minutes)
    print(report(samples))


def soak(stage: Stage, minutes: float) -> list[Sample]:
    plan = enroll(stage, AGENTS)
    begun = time.monotonic()
    samples: list[Sample] = []
    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        while len(samples) <= WARM_UP + 1 or time.monotonic() - begun < minutes * 60:
            with connected(plan):
                list(pool.map(_visit, [stage.ours.of(person) for person in PEOPLE]))
            opened = (len(samples) + 1) * len(PEOPLE) * TERMINALS
            samples.append(_at_rest(stage, lambda: (time.monotonic() - begun) / 3600, opened))
            print(_shown(samples[-1]), file=sys.stderr, flush=True)
    return samples


# What one person does in a round


def _visit(ours: Ours) -> None:
    for _ in range(TERMINALS):
        terminal = ours.click()
        terminal.prepare()
        _say(terminal, b"attached")
        terminal.write(b"yes | head -c 300000\n")
        _cut_and_resume(terminal, ours)
        terminal.write(b"yes\n")
        terminal.until(b"y\r\ny\r\n")
        terminal.interrupt()
        terminal.until(PROMPT)
        _say(terminal, b"interrupted")
        random.choice(ENDS)(terminal)
    ours.hang_up()


def _say(terminal: SocketTerminal, word: bytes) -> None:
    """A word goes to the host and comes back, with the prompt behind it."""
    terminal.write(b"echo -" + word + b"''-\n")
    _hear(terminal, word)


def _hear(terminal: SocketTerminal, word: bytes) -> None:
    terminal.until(b"-" + word + b"-\r\n" + PROMPT)


def _cut_and_resume(terminal: SocketTerminal, ours: Ours) -> None:
    """In the middle of the output, then with what was typed on its way."""
    terminal.until(b"y\r\ny\r\n")
    terminal.cut()
    terminal.resume()
    _say(terminal, b"resumed")
    terminal.write(b"echo -cut''-\n")
    terminal.cut()
    ours.hang_up()
    terminal.resume()
    _hear(terminal, b"cut")


def _end_by_rest(terminal: SocketTerminal) -> None:
    terminal.close()


def _end_by_exit(terminal: SocketTerminal) -> None:
    terminal.write(b"exit\n")
    with suppress(TerminalEnded):
        while True:
            terminal.read()
    terminal.cut()


def _end_unattended(terminal: SocketTerminal) -> None:
    terminal.cut()
    terminal.close()


ENDS: tuple[Callable[[SocketTerminal], None], ...] = (_end_by_rest, _end_by_exit, _end_unattended)


# What the broker says


def _at_rest(stage: Stage, hours: Callable[[], float], terminals: int) -> Sample:
    """Once nothing is open any more; AssertionError where something stays."""

    def resting() -> Sample | None:
        sample = _sample(stage, hours(), terminals)
        return sample if sample.is_at_rest else None

    until(resting, "no terminal is open, and only the agent's own tunnel", PATIENCE_S)
    time.sleep(GRACE_S + 2)
    return _sample(stage, hours(), terminals)


def _sample(stage: Stage, hours: float, terminals: int) -> Sample:
    text = stage.broker.call("GET", "/metrics").body.decode()
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    return Sample(
        hours=hours,
        terminals=terminals,
        memory_mb=values["process_resident_memory_bytes"] / MB,
        descriptors=values["process_open_fds"],
        tasks=values["brokerd_asyncio_tasks"],
        sessions=values["brokerd_sessions"],
        tunnels=values["brokerd_tunnels"],
    )


# What is printed


def _shown(sample: Sample) -> str:
    return ", ".join(f"{field.name} {getattr(sample, field.name):.6g}" for field in fields(sample))


def report(samples: Sequence[Sample]) -> str:
    """Slopes from the first rounds on, and what is left at the end over what there was after them."""
    warm = samples[WARM_UP:]
    lines = [
        f"{warm[-1].terminals} terminals, {len(samples) * AGENTS} agents, {60 * warm[-1].hours:.1f} min; "
        f"the first {WARM_UP} of {len(samples)} rounds do not count",
        f"{'':<14}{'first':>10}{'last':>10}{'an hour':>12}{'1,000 terminals':>18}",
    ]
    for name in MEASURED:
        values = [getattr(sample, name) for sample in warm]
        hourly = linear_regression([sample.hours for sample in warm], values).slope
        by_terminal = linear_regression([float(sample.terminals) for sample in warm], values).slope
        first, last = median(values[:3]), median(values[-3:])
        lines.append(f"{name:<14}{first:>10.1f}{last:>10.1f}{hourly:>+12.1f}{1000 * by_terminal:>+18.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
