"""Say whether somebody may, and why."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, host_named
from terminals.access import Capability
from terminals.durations import limit_words
from terminals.people import find_person
from terminals.reachable import decide_access
from tunnels.models import State


class Command(ActCommand):
    help = "Says which grant allows it (exit 0), or why it is refused (exit 1). Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person", metavar="PERSON")
        parser.add_argument("host", metavar="HOST")
        parser.add_argument("login", metavar="LOGIN")
        parser.add_argument("capability", metavar="CAPABILITY", nargs="?", choices=list(Capability), default="terminal")
        parser.add_argument("--address", metavar="IP", help="where the person would sit, for grants bound to networks")

    def act(self, **options: Any) -> None:
        decision = decide_access(
            person=find_person(options["person"]),
            host=host_named(options["host"], State.APPROVED, State.PENDING, State.REVOKED, State.REJECTED),
            login=options["login"],
            capability=Capability(options["capability"]),
            address=options["address"],
        )
        limits = ", ".join(limit_words(decision.limits))
        self.stdout.write(f"{decision.reason}, with its limits: {limits}" if limits else decision.reason)
        if not decision.allowed:
            sys.exit(1)
