"""Hosts without their machines, and callers of the REST API as browsers and scripts are."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from itertools import cycle
from typing import Any

from django.conf import settings
from django.test import Client
from django.utils import timezone

from terminals.api_tokens import create_api_token
from terminals.models import Person
from tunnels.audit import OPERATOR
from tunnels.models import AuditEvent, Host, State, Tunnel

ADDRESS = "192.0.2.7"
_ports = cycle(range(22100, 22600))


def make_host(name: str, *, state: State = State.APPROVED, online: bool = False, **tags: str) -> Host:
    digest = hashlib.sha256(f"{name} {state}".encode()).hexdigest()[:43]
    host = Host.objects.create(
        name=name,
        state=state,
        public_key="ssh-ed25519 AAAA",
        fingerprint=f"SHA256:{digest}",
        tunnel_port=next(_ports),
        code="ABCD-EFGH",
        address="198.51.100.7",
    )
    for key, value in tags.items():
        host.tags.create(key=key, value=value)
    if online:
        make_tunnel(host)
    return host


def make_tunnel(host: Host, *, lease: timedelta = timedelta(hours=1), closed: str = "") -> Tunnel:
    """Its lease is longer than any test: nobody renews it."""
    now = timezone.now()
    return Tunnel.objects.create(
        host=host,
        node="n1",
        address=host.address,
        opened_at=now,
        lease_until=now + lease,
        closed_at=now if closed else None,
        reason=closed,
    )


class Api:
    """JSON over `/api/v1`, as the portal's own pages (login and CSRF token) or a script (`token`) send it."""

    def __init__(self, person: Person | None = None, *, token: str = "", csrf: bool = True) -> None:
        self.client = Client(enforce_csrf_checks=True, REMOTE_ADDR=ADDRESS)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        if person:
            self.client.force_login(person)
        if csrf:
            secret = "c" * 32
            self.client.cookies[settings.CSRF_COOKIE_NAME] = secret
            self.headers["X-CSRFToken"] = secret

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.generic(
            method,
            f"/api/v1{path}",
            as_json(body),
            content_type="application/json",
            headers={**self.headers, **headers},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None) -> Any:
        return self("POST", path, {} if body is None else body)

    def delete(self, path: str) -> Any:
        return self("DELETE", path)


def as_json(body: Any) -> str:
    return "" if body is None else json.dumps(body)


def make_token(person: Person, *scopes: str, **facts: Any) -> str:
    return create_api_token(person=person, name="script", scopes=scopes, actor=OPERATOR, **facts)[1]


def events() -> list[str]:
    """Names in order, but for logins; refused ones with a leading `!`."""
    entries = AuditEvent.objects.exclude(event="person.logged_in").order_by("sequence")
    return [f"{'!' if entry.outcome == 'refused' else ''}{entry.event}" for entry in entries]


def last_event() -> AuditEvent:
    return AuditEvent.objects.latest("sequence")
