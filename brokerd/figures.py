"""What the node can tell of itself at any moment, for Prometheus: read at each scrape, nothing is counted here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from brokerd.gateway import Gateway
from terminals.live import LiveTerminals
from terminals.models import Delivery
from terminals.ssh.held import Held
from tunnels import spool
from tunnels.agents import AgentDesk
from tunnels.pairing import PairingDesk
from tunnels.registry import TunnelRegistry


class Figures(Collector):
    """Collected in a request's thread, where the database may be asked."""

    def __init__(
        self,
        *,
        registry: TunnelRegistry,
        terminals: LiveTerminals,
        held: Held,
        gateway: Gateway,
        desk: AgentDesk,
        pairing: PairingDesk,
    ) -> None:
        loop, ports, entry = asyncio.get_running_loop(), desk.ports, gateway.entry
        self._entry = entry
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "asyncio_tasks": ("Tasks of the event loop", lambda: len(asyncio.all_tasks(loop))),
            "tunnels": ("Live tunnels, each with one listener", lambda: len(registry)),
            "sessions": ("Live terminal sessions", lambda: len(terminals)),
            "viewers": ("Browsers and SSH clients at live terminals", lambda: terminals.viewers),
            "ssh_sessions": ("Ways to hosts, commands and transfers open over SSH", lambda: len(held)),
            "recordings_behind": ("Recordings whose disk is too slow: the terminal waits", lambda: terminals.behind),
            "gateway_connections": ("SSH connections at the gateway", lambda: gateway.connections),
            "gateway_unauthenticated": ("SSH connections not logged in yet", lambda: entry.waiting),
            "gateway_pairing": ("Unknown machines that wait for approval over SSH", lambda: len(pairing)),
            "bound_ports": ("Tunnel ports that listen on 127.0.0.1", lambda: len(ports) if ports else 0),
            "bound_port_connections": ("Connections to these ports", lambda: ports.connections if ports else 0),
            "facts_waiting": ("What has happened and waits for the database", spool.waiting),
            "webhook_deliveries_waiting": ("Webhook deliveries that were not made yet", _deliveries_waiting),
        }

    def collect(self) -> Iterable[Metric]:
        for name, (meaning, read) in self._gauges.items():
            yield GaugeMetricFamily(f"brokerd_{name}", meaning, value=read())
        refused = CounterMetricFamily("brokerd_gateway_refused", "SSH connections closed at once", labels=["why"])
        for why, count in list(self._entry.refused.items()):
            refused.add_metric([str(why)], count)
        yield refused
        yield CounterMetricFamily(
            "brokerd_gateway_penalties", "Sources refused for a while", value=self._entry.penalties
        )


def _deliveries_waiting() -> int:
    return Delivery.objects.exclude(next_attempt_at=None).count()
