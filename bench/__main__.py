"""`python -m bench`: stage, measure, print."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    bulk,
    echo,
    interrupt,
    many,
    memory,
    neighbour,
    opening,
    people,
    recording,
    replay,
    resume,
    returning,
    watchers,
)
from bench.effort import QUICK, Effort
from bench.figures import Figure, table
from bench.stage import Stage, staged

MEASURES: dict[str, Callable[[Stage, Effort], list[Figure]]] = {
    "echo": echo.measure,
    "neighbour": neighbour.measure,
    "file": bulk.measure,
    "interrupt": interrupt.near,
    "slow": interrupt.far,
    "resume": resume.measure,
    "open": opening.measure,
    "people": people.measure,
    "recording": recording.measure,
    "replay": replay.measure,
    "watchers": watchers.measure,
    "terminals": memory.of_terminals,
    "many": many.measure,
    "agents": memory.of_agents,
    "returning": returning.measure,
}
"""In this order: idle agents last, since what they leave behind in the broker would weigh on the others."""


def main() -> None:
    options = _options()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # inherited by the broker: a thousand agents need it
    effort = Effort(**{**(QUICK if options.quick else {}), **({"agents": options.agents} if options.agents else {})})
    about = _about()
    print(about, flush=True)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="brokerd-bench-") as folder, staged(Path(folder)) as stage:
        for name in options.only:
            begun = time.monotonic()
            figures += MEASURES[name](stage, effort)
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        sides = [side.name for side in stage.sides]
    print(table(figures, sides))
    print("ratio: brokerd / what stands before it; medians of alternating blocks; aims are about ssh -J")
    if options.json:
        options.json.write_text(json.dumps({"about": about, "figures": [figure.as_dict() for figure in figures]}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="brokerd beside stock ssh -J, interleaved")
    parser.add_argument("--quick", action="store_true", help="about three minutes instead of twenty")
    parser.add_argument("--only", type=_names, default=list(MEASURES), help=f"of {','.join(MEASURES)}")
    parser.add_argument("--agents", type=int, help="idle agents to connect")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every block's value as well")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(MEASURES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return [name for name in MEASURES if name in names]


def _about() -> str:
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()
    load = os.getloadavg()[0]
    return f"Python {platform.python_version()}, {ssh}, {os.cpu_count()} cores, load before {load:.1f}"


if __name__ == "__main__":
    main()
