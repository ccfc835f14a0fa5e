"""Machines as tests need them: real keys, a request that is good as it stands."""

from __future__ import annotations

from functools import cache
from typing import Any

import asyncssh
from django.test import Client

from tunnels.audit import Actor
from tunnels.enrollment import request_enrollment
from tunnels.models import AuditEvent, Host

ADMIN = Actor(person="admin", address="192.0.2.1")
ADDRESS = "198.51.100.7"


@cache
def key_line(label: str, algorithm: str = "ssh-ed25519", **options: Any) -> str:
    """The same label gives the same key."""
    return asyncssh.generate_private_key(algorithm, **options).export_public_key("openssh").decode().strip()


def body(name: str = "web1", **changes: Any) -> dict[str, Any]:
    """A good enrollment request of a machine with keys of its own."""
    good = {
        "name": name,
        "public_key": key_line(f"agent of {name}"),
        "host_keys": [key_line(f"sshd of {name}")],
        "info": {"hostname": name, "os": "Debian 12", "arch": "x86_64", "version": "1"},
    }
    return {**good, **changes}


def ask(name: str = "web1", **changes: Any) -> Host:
    return request_enrollment(**body(name, address=ADDRESS, **changes))[0]


def post(client: Client, request: Any) -> Any:
    return client.post("/api/v1/enrollments", request, content_type="application/json", REMOTE_ADDR=ADDRESS)


def events() -> list[str]:
    """Names in order, without the comings and goings of people; refused ones with a leading `!`."""
    entries = (
        AuditEvent.objects.exclude(event__startswith="person.").order_by("sequence").values_list("event", "outcome")
    )
    return [f"{'!' if outcome == 'refused' else ''}{event}" for event, outcome in entries]
