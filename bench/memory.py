"""Memory of what does nothing: the broker's growth for each idle terminal and agent, beside sshd's own processes."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path

from bench.agents import idle_agents
from bench.effort import Effort
from bench.figures import Figure
from bench.ours import Ours
from bench.stage import Stage
from bench.stock import Stock
from tests.story.broker import free_port

MB = 1024 * 1024
OF_SSHD = 5
"""Connections over which sshd's figure is taken: a process or two each."""
REST_S = 3


def of_terminals(stage: Stage, effort: Effort) -> list[Figure]:
    figure = Figure("idle terminal, server side", "MB")
    stage.restart_broker()
    before = _rest(stage)
    with ExitStack() as stack:
        _open(stage.ours, effort.terminals, stack)
        figure.ours.append((_rest(stage) - before) / effort.terminals / MB)
    before_sshd = _pss(stage.server.process.pid)
    with ExitStack() as stack:
        _open(stage.stock, OF_SSHD, stack)
        time.sleep(1)
        figure.stock.append((_pss(stage.server.process.pid) - before_sshd) / OF_SSHD / MB)
    return [figure]


def of_agents(stage: Stage, effort: Effort) -> list[Figure]:
    each = Figure("idle agent, server side", "MB")
    allowed = 0.2 * effort.agents
    together = Figure(f"{effort.agents:,} idle agents", "MB", f"{allowed:.0f} MB", most=allowed)
    stage.restart_broker()
    before = _rest(stage)
    with idle_agents(stage, effort.agents):
        growth = (_rest(stage) - before) / MB
    each.ours.append(growth / effort.agents)
    together.ours.append(growth)
    each.stock.append(_sshd_per_agent(stage))
    return [each, together]


def _sshd_per_agent(stage: Stage) -> float:
    before = _pss(stage.server.process.pid)
    agents = [stage.stock.start_agent(free_port()) for _ in range(OF_SSHD)]
    time.sleep(2)
    grown = _pss(stage.server.process.pid) - before
    for agent in agents:
        agent.terminate()
        agent.wait(10)
    return grown / OF_SSHD / MB


def _rest(stage: Stage) -> int:
    """The broker's resident bytes, once it has had time to let go of what work needed."""
    time.sleep(REST_S)
    return stage.broker.rss()


def _open(side: Ours | Stock, count: int, stack: ExitStack) -> None:
    for _ in range(count):
        terminal = stack.enter_context(closing(side.click()))
        terminal.prepare()


def _pss(root: int) -> int:
    """Bytes of a process and all below it, shared pages by their share."""
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except (OSError, ValueError):
            continue  # it has just ended
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
