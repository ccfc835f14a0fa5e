"""What is measured, on loopback: one machine with one sshd, to be reached through brokerd and through stock ssh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.ours import Ours
from bench.shaping import Line, shaped
from bench.sshd import Sshd
from bench.stock import Stock, StockTunnel
from bench.terminal import Side, Terminal
from bench.ttyd import RunningTtyd
from tests.story.broker import PEOPLE, Broker, running
from tests.story.machine import Machine, keygen, machine, terminal_grant

HOST = "bench"
PORTS = "22100-24199"
"""Tunnel ports: enough for 2,000 idle agents."""


@dataclass(frozen=True, slots=True)
class Stage:
    folder: Path
    broker: Broker
    host: Machine
    server: Sshd
    ours: Ours
    stock: Stock
    others: tuple[Side, ...]
    """What else is installed to compare with."""

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.ours, self.stock, *self.others

    def restart_broker(self) -> None:
        """A broker whose memory does not yet hold what an earlier measure has let go of."""
        self.broker.stop()
        self.broker.start()
        self.host.start_agent()
        self.host.wait_online()
        for _ in range(3):  # what the first ones leave behind is not the price of each
            terminal = self.ours.click()
            terminal.prepare()
            terminal.close()

    @contextmanager
    def terminals(self, sides: Sequence[Side] = ()) -> Iterator[dict[str, Terminal]]:
        """One prepared terminal of each side, by its name; ours first."""
        with ExitStack() as stack:
            terminals = {side.name: stack.enter_context(closing(side.click())) for side in sides or self.sides}
            for terminal in terminals.values():
                terminal.prepare()
            yield terminals

    @contextmanager
    def far(self, line: Line) -> Iterator[list[Side]]:
        """All sides, for people who sit at the other end of such a line."""
        with shaped(line, [side.port for side in self.sides]) as ports:
            yield [side.through(port) for side, port in zip(self.sides, ports, strict=True)]


@contextmanager
def staged(folder: Path, **settings: str) -> Iterator[Stage]:
    """`settings`: those of the broker, beside what every measure needs."""
    settings = {"BROKERD_TUNNEL_PORTS": PORTS, "BROKERD_IDLE_TIMEOUT": "0", **settings}
    with ExitStack() as stack:
        broker = stack.enter_context(running(folder / "broker", **settings))
        host = stack.enter_context(machine(folder, HOST, broker))
        key = folder / "key"
        public_key = keygen(key)
        host.request()
        host.approve(*(terminal_grant(person) for person in PEOPLE))
        ca = host.enrollment["ca_public_key"]
        distant = stack.enter_context(Sshd(host.folder, port=host.port, client_key=public_key, ca=ca))
        host.start_agent()
        host.wait_online()
        server = stack.enter_context(Sshd(folder / "server", client_key=public_key))
        tunnel = stack.enter_context(StockTunnel(folder, server=server, machine=distant, key=key))
        program = RunningTtyd.program()
        others = (stack.enter_context(RunningTtyd(program, tunnel)),) if program else ()
        yield Stage(folder, broker, host, server, Ours(broker, HOST), Stock(tunnel), others)
