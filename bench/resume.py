"""From a lost network to the missing bytes: everything is dialled anew, near and far. Stock ssh can only open anew.

The clock starts with the page's first attempt: until then it has waited for a network, or for its own back-off.
"""

from __future__ import annotations

import time
from contextlib import closing
from statistics import median

from bench.effort import Effort
from bench.figures import OURS, STOCK, Figure
from bench.opening import open_once
from bench.ours import Ours
from bench.shaping import Line
from bench.stage import Stage
from bench.terminal import Side

ALLOWED_MS = 50
"""Beside one round trip."""
FAR = Line(round_trip_s=0.05, rate=100_000_000)
MISSED = 20_000
"""Bytes of output that nobody was there to see."""
END = b"-END-"
COMMAND = f"sleep 0.2; head -c {MISSED} /dev/zero | tr '\\0' x; printf -- -EN''D-; stty sane"


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    figures = _measure("on loopback", stage.ours, stage.stock, effort)
    with stage.far(FAR) as (ours, stock, *_):
        assert isinstance(ours, Ours)
        return figures + _measure("50 ms away", ours, stock, effort)


def _measure(where: str, ours: Ours, stock: Side, effort: Effort) -> list[Figure]:
    trip = Figure(f"round trip of the page, {where}", "ms")
    back = Figure(f"resume (ssh: open anew), {where}", "ms", is_absolute=True)
    with closing(ours.click()) as terminal:
        terminal.prepare()
        for _ in range(effort.resumes):
            trip.add(OURS, terminal.round_trip())
            terminal.run(COMMAND)
            terminal.cut()
            ours.hang_up()
            time.sleep(0.4)
            begun = time.perf_counter()
            terminal.resume()
            terminal.until(END)
            back.add(OURS, (time.perf_counter() - begun) * 1000)
            back.add(STOCK, open_once(stock))
    back.most = median(trip.blocks[OURS]) + ALLOWED_MS
    back.aim = f"{back.most:.0f} ms"
    return [trip, back]
