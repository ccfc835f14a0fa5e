"""Audit events as the webhooks read them, and what was queued of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.db import transaction

from terminals.models import Delivery, Webhook
from terminals.webhooks.acts import create_webhook
from terminals.webhooks.news import Kind
from tunnels.audit import Actor, Event, record

ADMIN = Actor("admin", "192.0.2.1")
URL = "http://127.0.0.1:9/hook"
_sequences = count(1)


def entry(event: str, at: float = 0, *, host: str = "web1", outcome: str = "ok", **facts: Any) -> dict[str, Any]:
    """An audit event at `at` seconds since 1970; details come as keywords."""
    named = {name: facts.pop(name, "") for name in ("person", "login", "session")}
    return {
        "id": f"id-{at:g}-{event}",
        "sequence": next(_sequences),
        "time": datetime.fromtimestamp(at, UTC).isoformat(),
        "event": event,
        "host": host,
        "outcome": outcome,
        **named,
        "detail": facts,
    }


def make_webhook(url: str = URL, *, name: str = "chat", events: Any = Kind, allows_private: bool = True) -> Webhook:
    return create_webhook(name=name, url=url, events=events, allows_private=allows_private, actor=ADMIN)[0]


@transaction.atomic
def happen(event: Event, **facts: Any) -> int:
    """Put something on record; its sequence number."""
    return record(event, **facts).sequence


def open_sessions(*hosts: str) -> list[int]:
    return [happen(Event.SESSION_OPENED, actor=Actor("alice"), host=host, login="root", session="s1") for host in hosts]


def queued(webhook: Webhook) -> list[str]:
    """Events and hosts of a webhook's deliveries, in order."""
    return [f"{row.event} {json.loads(row.body)['host']}" for row in Delivery.objects.filter(webhook=webhook)]
