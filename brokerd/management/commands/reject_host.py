"""Turn a machine away that waits for approval."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, host_named
from tunnels.audit import OPERATOR
from tunnels.enrollment import reject_enrollment
from tunnels.models import State


class Command(ActCommand):
    help = "Rejects a pending host; its name and tunnel port are free again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def act(self, **options: Any) -> None:
        host = reject_enrollment(host=host_named(options["name"], State.PENDING), actor=OPERATOR)
        self.stdout.write(f"rejected {host.name} {host.fingerprint}")
