"""A token bucket per address: bounded in memory, without a clock of its own. Knows no Django."""

from __future__ import annotations

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock


class Throttle:
    """Each address may do `burst` things at once, and one more every `refill_s` seconds."""

    def __init__(self, *, burst: int, refill_s: float, table: int = 10_000) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._table = table
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Source -> (what was left, when), least recently used first."""
        self._lock = Lock()

    def take(self, address: str, now: float) -> int:
        """0 when granted, else in how many seconds to come back. `now` in seconds, from any monotonic clock."""
        source = source_of(address)
        with self._lock:
            left, when = self._buckets.pop(source, (float(self._burst), now))
            left = min(self._burst, left + (now - when) / self._refill_s)
            wait_s = 0 if left >= 1 else math.ceil((1 - left) * self._refill_s)
            self._buckets[source] = (left if wait_s else left - 1, now)
            # Over the bound the source that was quiet for longest is forgotten: it is the fullest one as well.
            if len(self._buckets) > self._table:
                self._buckets.popitem(last=False)
        return wait_s

    def clear(self) -> None:
        with self._lock:
            self._buckets.clear()

    def __len__(self) -> int:
        return len(self._buckets)


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, an IPv6 /64 (one customer has that many), anything else as it is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((int(ip), 64), strict=False))
    return str(ip)
