"""Let a person or group use logins on hosts."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.conf import parse_duration
from brokerd.management.base import ActCommand, argument, host_named, tag
from brokerd.times import parse_time
from terminals.access import Capability
from terminals.grants import create_grant
from terminals.limits import GrantLimits
from terminals.people import find_group, find_person
from tunnels import clock
from tunnels.audit import OPERATOR
from tunnels.models import State


class Command(ActCommand):
    help = "Makes a grant and prints its number, which revoke_access takes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        several: dict[str, Any] = {"nargs": "+", "action": "extend"}
        to = parser.add_mutually_exclusive_group(required=True)
        to.add_argument("--person", metavar="P")
        to.add_argument("--group", metavar="G")
        on = parser.add_mutually_exclusive_group(required=True)
        on.add_argument("--host", metavar="H")
        on.add_argument("--tag", type=argument(tag), metavar="k=v", help="on all hosts with this tag, also later ones")
        on.add_argument("--all-hosts", action="store_true")
        parser.add_argument("--login", **several, required=True, metavar="L", help="account on the host")
        parser.add_argument(
            "--capability", **several, choices=list(Capability), metavar="C", help="of " + ", ".join(Capability)
        )
        when = argument(lambda text: parse_time(text, clock.now()))
        parser.add_argument("--from", dest="since", type=when, metavar="T", help="ISO 8601 with zone, or a duration")
        parser.add_argument("--until", type=when, metavar="T", help="likewise")
        parser.add_argument("--network", **several, default=[], metavar="CIDR", help="only from these addresses")
        limit: dict[str, Any] = {"type": argument(parse_duration), "metavar": "D"}
        parser.add_argument("--idle", **limit, help="end a terminal in which nobody types for so long, such as 10m")
        parser.add_argument("--longest", **limit, help="end a terminal after so long at the latest, such as 2h")
        parser.add_argument("--grace", **limit, help="let a terminal wait so long for its browser, such as 5m")

    def act(self, **options: Any) -> None:
        grant = create_grant(
            actor=OPERATOR,
            person=find_person(options["person"]) if options["person"] else None,
            group=find_group(options["group"]) if options["group"] else None,
            host=host_named(options["host"], State.APPROVED) if options["host"] else None,
            tag=options["tag"],
            all_hosts=options["all_hosts"],
            logins=options["login"],
            capabilities=options["capability"] or [Capability.TERMINAL],
            valid_from=options["since"],
            valid_until=options["until"],
            networks=options["network"],
            limits=GrantLimits(options["grace"], options["idle"], options["longest"]),
        )
        self.stdout.write(f"grant {grant.pk}")
