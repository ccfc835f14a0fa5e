"""Many terminals at once, with somebody at each who types two keys a second: echo, and what each costs the server.

The crowds of both sides stay open while their blocks alternate. A stock session is a chain of five processes, two of
them its client on this same machine, so there are at most STOCK_MOST: more would measure how the machine thrashes.
"""

from __future__ import annotations

import gc
import heapq
import random
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

from bench.echo import ECHO
from bench.effort import Effort
from bench.figures import OURS, STOCK, Figure, percentile
from bench.memory import MB, REST_S
from bench.processes import cpu_s, pss
from bench.stage import Stage
from bench.terminal import PATIENCE_S, Side, Terminal, TerminalEnded
from tests.story.broker import PEOPLE

STOCK_MOST = 200
AIMED_AT = 500
PERIOD_S = 0.5
"""Between two keys of one person."""
ACK_S = 0.05
"""How late the page acknowledges an echo that nothing follows."""
AT_ONCE = 3
"""Terminals of one side that are opened at the same time."""
STEP = 25
"""Terminals of one side that are opened before those of the other."""


@dataclass(slots=True)
class Crowd:
    """Open terminals of one side; `openers` take turns, since one person may have a hundred."""

    name: str
    openers: Sequence[Side]
    server: int
    """Process that carries them: the broker, or the stock server's sshd with all below it."""
    memory: Callable[[], int]
    """Bytes that it has now."""
    stack: ExitStack
    terminals: list[Terminal] = field(default_factory=list)

    def grow(self, count: int) -> None:
        """Open more, until there are `count`; and answer the pings that came meanwhile."""
        for terminal in self.terminals:
            if terminal.has_something(0):
                terminal.take()
        turns = [self.openers[index::AT_ONCE] for index in range(AT_ONCE)]  # one opener is one thread's alone
        missing = count - len(self.terminals)
        shares = [len(range(index, missing, AT_ONCE)) for index in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for opened in pool.map(self._open, turns, shares):
                self.terminals += opened

    def _open(self, openers: Sequence[Side], count: int) -> list[Terminal]:
        opened = []
        for index in range(count):
            terminal = self.stack.enter_context(closing(openers[index % len(openers)].click()))
            terminal.prepare()
            terminal.run(ECHO)
            opened.append(terminal)
        return opened

    def type(self, seconds: float) -> tuple[list[float], float]:
        """Milliseconds from each key to its echo, and the server's CPU time for one, milliseconds."""
        before = cpu_s(self.server)
        echoes = _type(self.terminals, seconds)
        return echoes, (cpu_s(self.server) - before) * 1000 / len(echoes)


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    stage.restart_broker()
    assert stage.broker.process
    figures: list[Figure] = []
    with ExitStack() as stack:
        people = [stage.ours.of(person) for person in PEOPLE]
        server = stage.server.process.pid
        ours = Crowd(OURS, people, stage.broker.process.pid, stage.broker.rss, stack)
        stock = Crowd(STOCK, [stage.stock] * AT_ONCE, server, partial(pss, server), stack)
        time.sleep(REST_S)
        empty = {crowd.name: crowd.memory() for crowd in (ours, stock)}
        for count in effort.crowds:
            for size in range(len(ours.terminals), count, STEP):
                ours.grow(min(size + STEP, count))
                stock.grow(min(size + STEP, count, STOCK_MOST))
            figures += _measure((ours, stock), empty, effort)
    return figures


def _measure(crowds: Sequence[Crowd], empty: dict[str, int], effort: Effort) -> list[Figure]:
    counts = [len(crowd.terminals) for crowd in crowds]
    name = f"{counts[0]} terminals" + ("" if counts[0] == counts[1] else f" (ssh: {counts[1]})")
    middle = Figure(f"{name}, echo p50", "ms")
    slow = Figure(f"{name}, echo p99", "ms")
    if counts[0] == AIMED_AT:
        slow.aim, slow.most = "0.5x", 0.5
    cpu = Figure(f"{name}, CPU of a key", "ms")
    memory = Figure(f"{name}, memory of each", "MB")
    for _ in range(effort.crowd_blocks):
        for crowd in crowds:
            echoes, cost = crowd.type(effort.crowd_s)
            middle.add(crowd.name, percentile(echoes, 50))
            slow.add(crowd.name, percentile(echoes, 99))
            cpu.add(crowd.name, cost)
    for crowd in crowds:
        memory.add(crowd.name, (crowd.memory() - empty[crowd.name]) / len(crowd.terminals) / MB)
    return [middle, slow, cpu, memory]


def _type(terminals: Sequence[Terminal], seconds: float) -> list[float]:
    """Everybody types for so long, each at a time of their own. Raises TerminalEnded where an echo stays out."""
    taken: list[float] = []
    typed: list[deque[float]] = [deque() for _ in terminals]
    poll = select.poll()
    by_fd = {terminal.fd: index for index, terminal in enumerate(terminals)}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    now = time.perf_counter()
    end = now + seconds
    keys = [(now + random.uniform(0, PERIOD_S), index) for index in range(len(terminals))]
    heapq.heapify(keys)
    acks: deque[tuple[float, int]] = deque()
    gc.disable()
    while keys or any(typed):
        now = time.perf_counter()
        while keys and keys[0][0] <= now:
            due, index = heapq.heappop(keys)
            typed[index].append(time.perf_counter())
            terminals[index].write(b"x")
            if due + PERIOD_S < end:
                heapq.heappush(keys, (due + PERIOD_S, index))
        while acks and acks[0][0] <= now:
            terminals[acks.popleft()[1]].settle()
        if now > end + PATIENCE_S:
            raise TerminalEnded(f"{sum(map(len, typed))} echoes stayed out")
        due = min(keys[0][0] if keys else end + PATIENCE_S, acks[0][0] if acks else end + PATIENCE_S)
        for fd, _ in poll.poll(max(0.0, due - time.perf_counter()) * 1000):
            index = by_fd[fd]
            echo = terminals[index].take()
            now = time.perf_counter()
            taken += [(now - typed[index].popleft()) * 1000 for _ in echo]
            acks.append((now + ACK_S, index))
    gc.enable()
    for terminal in terminals:
        terminal.settle()
    return taken
