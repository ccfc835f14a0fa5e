"""Take a host out of service, at once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, host_named
from tunnels.audit import OPERATOR
from tunnels.hosts import revoke_host
from tunnels.models import State


class Command(ActCommand):
    help = "Revokes an approved host: its key opens nothing any more, its tunnel and terminal sessions end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def act(self, **options: Any) -> None:
        host = revoke_host(host=host_named(options["name"], State.APPROVED), actor=OPERATOR)
        self.stdout.write(f"revoked {host.name} {host.fingerprint}")
