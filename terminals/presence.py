"""Is a host there, since when not, and why: what pages and REST say about its newest tunnel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from tunnels.models import Host


@dataclass(frozen=True, slots=True)
class Presence:
    online: bool
    last_seen: datetime | None
    """Now, while it is online; None when it never connected."""
    offline_reason: str | None


def presence(host: Host) -> Presence:
    """Of a host fetched `with_presence()`: whether it is online was decided there, by the database's clock."""
    tunnel = getattr(host, "tunnel", None)
    if tunnel is None:
        return Presence(False, None, "never connected")
    if getattr(host, "online", False):
        return Presence(True, timezone.now(), None)
    if tunnel.closed_at is not None:
        return Presence(False, tunnel.closed_at, tunnel.reason or "the tunnel closed")
    return Presence(False, tunnel.lease_until, "no sign of life")
