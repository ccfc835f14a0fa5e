"""What is measured, on loopback: one machine with one sshd, to be reached through brokerd and through stock ssh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.ours import Ours
from bench.sshd import Sshd
from bench.stock import Stock
from bench.terminal import Terminal
from tests.story.broker import Broker, running
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

    @property
    def sides(self) -> tuple[Ours, Stock]:
        return self.ours, self.stock

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
    def terminals(self) -> Iterator[tuple[Terminal, Terminal]]:
        """One prepared terminal of each side: ours, stock."""
        with ExitStack() as stack:
            ours, stock = (stack.enter_context(closing(side.click())) for side in self.sides)
            for terminal in (ours, stock):
                terminal.prepare()
            yield ours, stock


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    settings = {"BROKERD_TUNNEL_PORTS": PORTS, "BROKERD_IDLE_TIMEOUT": "0"}
    with ExitStack() as stack:
        broker = stack.enter_context(running(folder / "broker", **settings))
        host = stack.enter_context(machine(folder, HOST, broker))
        key = folder / "key"
        public_key = keygen(key)
        host.request()
        host.approve(terminal_grant())
        ca = host.enrollment["ca_public_key"]
        distant = stack.enter_context(Sshd(host.folder, port=host.port, client_key=public_key, ca=ca))
        host.start_agent()
        host.wait_online()
        server = stack.enter_context(Sshd(folder / "server", client_key=public_key))
        stock = stack.enter_context(Stock(folder, server=server, machine=distant, key=key))
        yield Stage(folder, broker, host, server, Ours(broker, HOST), stock)
