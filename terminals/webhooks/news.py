"""What webhooks tell: a closed set of events, made from the audit log. Pure.

An entry is an audit event as `tunnels.audit.as_dict` shows it; its texts were made safe to show when it was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a webhook can ask for."""

    SESSION_OPENED = "session.opened"
    SESSION_ENDED = "session.ended"
    SESSION_SHARED = "session.shared"
    HOST_ENROLLED = "host.enrolled"
    HOST_APPROVED = "host.approved"
    HOST_ONLINE = "host.online"
    HOST_OFFLINE = "host.offline"


TEST = "webhook.test"
"""Sent by an admin's click, whatever the webhook asks for."""


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell, and the audit event that it comes from."""

    event: str
    id: str
    sequence: int
    time: str
    """ISO 8601, in UTC."""
    host: str = ""
    person: str = ""
    login: str = ""
    session: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


# Audit event -> what is told, and which of its details. Commands may hold passwords and are left out, as is whatever
# opens something: links of shares, pairing codes.
_TOLD: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "session.opened": (Kind.SESSION_OPENED, ("way", "capability", "stated_reason")),
    "session.ended": (Kind.SESSION_ENDED, ("reason", "owner", "bytes_in", "bytes_out", "recording")),
    "forward.opened": (Kind.SESSION_OPENED, ()),
    "forward.closed": (Kind.SESSION_ENDED, ("reason", "owner", "bytes_in", "bytes_out")),
    "share.created": (Kind.SESSION_SHARED, ("role", "to", "guests", "expires_at")),
    "enrollment.requested": (Kind.HOST_ENROLLED, ("fingerprint",)),
    "host.approved": (Kind.HOST_APPROVED, ("fingerprint", "token")),
}


def tell(entry: Mapping[str, Any]) -> News | None:
    """What an audit event is told as; None where it is not told, or by `damping` only."""
    if entry["event"] not in _TOLD or entry["outcome"] != "ok":
        return None
    kind, names = _TOLD[entry["event"]]
    detail = {name: entry["detail"][name] for name in names if entry["detail"].get(name) not in (None, "")}
    if entry["event"].startswith("forward."):
        if not entry["session"]:
            return None  # a local user of the broker's machine, at a bound port: nobody's session
        detail["way"] = "end-to-end"
    return about(kind, entry, **detail)


def about(event: str, entry: Mapping[str, Any], **detail: Any) -> News:
    shared = {name: entry[name] for name in ("id", "sequence", "time", "host", "person", "login", "session")}
    return News(event, **shared, detail=detail)


def body(news: News, *, missed: int = 0) -> str:
    """The JSON that is sent. `missed` events before it were left out, because the receiver had too many waiting."""
    facts = {
        "id": news.id,
        "event": news.event,
        "time": news.time,
        "sequence": news.sequence,
        "host": news.host,
        "person": news.person,
        "login": news.login,
        "session": news.session,
        "detail": dict(news.detail),
        "missed": missed,
    }
    return json.dumps(facts)
