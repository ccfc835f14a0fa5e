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

from bench import bulk, echo, interrupt, memory, opening
from bench.effort import QUICK, Effort
from bench.figures import Figure, table
from bench.stage import Stage, staged

MEASURES: dict[str, Callable[[Stage, Effort], list[Figure]]] = {
    "echo": echo.measure,
    "file": bulk.measure,
    "interrupt": interrupt.measure,
    "open": opening.measure,
    "terminals": memory.of_terminals,
    "agents": memory.of_agents,
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
    print(table(figures))
    print("ratio: brokerd / stock; medians of alternating blocks")
    if options.json:
        options.json.write_text(json.dumps({"about": about, "figures": [figure.as_dict() for figure in figures]}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="brokerd beside stock ssh -J, interleaved")
    parser.add_argument("--quick", action="store_true", help="about a minute instead of four")
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
