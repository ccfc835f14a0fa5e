"""What this process counts for Prometheus; `brokerd.health` serves it. Gauges of the node are read at each scrape."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.process_collector import ProcessCollector

registry = CollectorRegistry()
ProcessCollector(registry=registry)

LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

events = Counter("brokerd_events", "Audit events that this process wrote", ["event", "outcome"], registry=registry)
"""Failed logins, refused sessions, tunnels that came and went: each by its name, `ok` or `refused`."""
loop_lag = Histogram(
    "brokerd_loop_lag_seconds", "How late the event loop runs a timer", buckets=LATENCIES_S, registry=registry
)
echo = Histogram(
    "brokerd_echo_seconds",
    "From what a person typed to the host's next output, at the broker",
    buckets=LATENCIES_S,
    registry=registry,
)
session_bytes = Counter(
    "brokerd_session_bytes", "Bytes of sessions that have ended", ["way", "direction"], registry=registry
)
