"""When a host is told to be online or offline, so that one bad line does not flood a receiver. Pure.

An offline host that is back within `SETTLE_S` is not told. One whose tunnel closes again and again is told once, as
`flapping`; then there is silence until it has been calm for `CALM_S`, and one event that sums up. What is in between
is kept as JSON in the webhook's row, so that a restart of the broker forgets and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from terminals.webhooks.news import Kind, News

SETTLE_S = 30
WINDOW_S = 600
CLOSINGS = 4
"""So many closed tunnels within the window are flapping."""
CALM_S = 600


@dataclass(slots=True)
class Watch:
    """A host that comes and goes. One that is as it was told to be, and calm, has none."""

    online: bool
    told: bool
    """What the receiver believes."""
    id: str = ""
    sequence: int = 0
    time: str = ""
    """Of the audit event of the last change, as the two before."""
    reason: str = ""
    closings: list[float] = field(default_factory=list)
    """When its tunnel closed, within the window; seconds since 1970."""
    flapping: bool = False
    changes: int = 0
    """Since it was told to be flapping."""

    @property
    def changed_at(self) -> float:
        return datetime.fromisoformat(self.time).timestamp()

    def note(self, entry: Mapping[str, Any], *, online: bool) -> None:
        self.online, self.changes = online, self.changes + 1
        self.id, self.sequence, self.time = entry["id"], entry["sequence"], entry["time"]
        self.reason = entry["detail"].get("reason", "")

    def news(self, host: str, **detail: Any) -> News:
        self.told = self.online
        kind = Kind.HOST_ONLINE if self.online else Kind.HOST_OFFLINE
        given = {"reason": self.reason, **detail} if self.reason else detail
        return News(kind, self.id, self.sequence, self.time, host, detail=given)


class Damper:
    """The hosts of one webhook that come and go. `since` is when this broker began to look, in seconds since 1970:
    while it was down nobody could come back, so its own restart makes no host offline."""

    def __init__(self, kept: Mapping[str, Any], *, since: float) -> None:
        self._watched = {host: Watch(**facts) for host, facts in kept.items()}
        self._since = since

    def kept(self) -> dict[str, Any]:
        return {host: asdict(watch) for host, watch in self._watched.items()}

    def feed(self, entry: Mapping[str, Any]) -> Iterator[News]:
        """Take in an audit event, and yield what is to be told at its time."""
        host, now = entry["host"], datetime.fromisoformat(entry["time"]).timestamp()
        if entry["event"] == "host.renamed" and (old := entry["detail"].get("old")) in self._watched:
            self._watched[host] = self._watched.pop(old)
        elif entry["event"] == "tunnel.opened":
            yield from self._settle(host, now)
            yield from self._opened(host, entry)
        elif entry["event"] == "tunnel.closed":
            yield from self._settle(host, now)
            yield from self._closed(host, entry, now)

    def settle(self, now: float) -> list[News]:
        """What is to be told because time has passed, in the order in which it happened."""
        told = [news for host in list(self._watched) for news in self._settle(host, now)]
        return sorted(told, key=lambda news: news.sequence)

    def _opened(self, host: str, entry: Mapping[str, Any]) -> Iterator[News]:
        watch = self._watched.setdefault(host, Watch(online=False, told=False))
        watch.note(entry, online=True)
        if not watch.told and not watch.flapping:
            yield watch.news(host)

    def _closed(self, host: str, entry: Mapping[str, Any], now: float) -> Iterator[News]:
        watch = self._watched.setdefault(host, Watch(online=True, told=True))
        watch.note(entry, online=False)
        watch.closings = [*watch.closings[1 - CLOSINGS :], now]
        if not watch.flapping and len(watch.closings) == CLOSINGS and now - watch.closings[0] <= WINDOW_S:
            watch.flapping, watch.changes = True, 0
            yield watch.news(host, flapping=True)

    def _settle(self, host: str, now: float) -> Iterator[News]:
        if (watch := self._watched.get(host)) is None:
            return
        if watch.flapping:
            if now < watch.changed_at + CALM_S:
                return
            watch.flapping, watch.closings = False, []
            if watch.changes:
                yield watch.news(host, settled=True, changes=watch.changes)
        elif watch.told and not watch.online and now >= max(watch.changed_at, self._since) + SETTLE_S:
            yield watch.news(host)
        is_recent = watch.closings and now < watch.closings[-1] + WINDOW_S
        if watch.told == watch.online and not is_recent:
            del self._watched[host]
