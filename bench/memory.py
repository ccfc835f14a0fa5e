"""Memory of what does nothing: the broker's growth for each idle terminal and agent, beside sshd's own processes."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

from bench.agents import connected, enroll
from bench.effort import Effort
from bench.figures import OURS, STOCK, Figure
from bench.processes import pss
from bench.stage import Stage
from bench.terminal import Side
from tests.story.broker import free_port

MB = 1024 * 1024
OF_SSHD = 5
"""Connections over which sshd's figure is taken: a process or two each."""
REST_S = 3


def of_terminals(stage: Stage, effort: Effort) -> list[Figure]:
    figure = Figure("idle terminal, server side", "MB", "0.1 MB", most=0.1, is_absolute=True)
    stage.restart_broker()
    before = rest(stage)
    with ExitStack() as stack:
        _open(stage.ours, effort.terminals, stack)
        figure.add(OURS, (rest(stage) - before) / effort.terminals / MB)
    before_sshd = pss(stage.server.process.pid)
    with ExitStack() as stack:
        _open(stage.stock, OF_SSHD, stack)
        time.sleep(1)
        figure.add(STOCK, (pss(stage.server.process.pid) - before_sshd) / OF_SSHD / MB)
    return [figure]


def of_agents(stage: Stage, effort: Effort) -> list[Figure]:
    each = Figure("idle agent, server side", "MB")
    allowed = 0.2 * effort.agents
    together = Figure(f"{effort.agents:,} idle agents", "MB", f"{allowed:.0f} MB", most=allowed, is_absolute=True)
    stage.restart_broker()
    before = rest(stage)
    with connected(enroll(stage, effort.agents)):
        growth = (rest(stage) - before) / MB
    each.add(OURS, growth / effort.agents)
    together.add(OURS, growth)
    each.add(STOCK, _sshd_per_agent(stage))
    return [each, together]


def _sshd_per_agent(stage: Stage) -> float:
    before = pss(stage.server.process.pid)
    agents = [stage.stock.tunnel.start_agent(free_port()) for _ in range(OF_SSHD)]
    time.sleep(2)
    grown = pss(stage.server.process.pid) - before
    for agent in agents:
        agent.terminate()
        agent.wait(10)
    return grown / OF_SSHD / MB


def rest(stage: Stage) -> int:
    """The broker's resident bytes, once it has had time to let go of what work needed."""
    time.sleep(REST_S)
    return stage.broker.rss()


def _open(side: Side, count: int, stack: ExitStack) -> None:
    for _ in range(count):
        terminal = stack.enter_context(closing(side.click()))
        terminal.prepare()
