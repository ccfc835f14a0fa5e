"""List the machines, those that wait included."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, columns
from terminals.presence import presence
from tunnels.models import Host

COLUMNS = ("name", "state", "online", "login", "tunnel_port", "tags", "fingerprint", "code", "address")


class Command(ActCommand):
    help = "Lists all hosts and enrollments."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as one JSON array")

    def act(self, **options: Any) -> None:
        hosts = [_facts(host) for host in Host.objects.with_presence()]
        if options["json"]:
            self.stdout.write(json.dumps(hosts, indent=2))
        else:
            self._table(hosts)

    def _table(self, hosts: list[dict[str, Any]]) -> None:
        if not hosts:
            self.stderr.write("no machine has asked to enroll yet; create_enrollment_token is one way to begin")
            return
        rows = [COLUMNS, *(tuple(_cell(host[column]) for column in COLUMNS) for host in hosts)]
        self.stdout.write("\n".join(columns(rows)))


def _facts(host: Host) -> dict[str, Any]:
    seen = presence(host)
    return {
        "id": str(host.pk),
        "name": host.name,
        "state": host.state,
        "online": seen.online,
        "last_seen": seen.last_seen.isoformat() if seen.last_seen else None,
        "offline_reason": seen.offline_reason,
        "login": host.login,
        "tunnel_port": host.tunnel_port,
        "tags": host.tag_map,
        "fingerprint": host.fingerprint,
        "code": host.code,
        "address": host.address,
        "info": host.info,
        "requested_at": host.requested_at.isoformat(),
    }


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items()) or "-"
    return str(value)
