"""Make a secret that lets machines enroll, and print it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.conf import parse_duration
from brokerd.management.base import ActCommand, argument, tag
from tunnels.audit import OPERATOR
from tunnels.tokens import create_enrollment_token


class Command(ActCommand):
    help = "Makes an enrollment token and prints it, alone; it is kept nowhere and cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument("--host", default="", help="the only name that it may enroll")
        parser.add_argument("--uses", type=int, default=1, help="how many machines (default: 1)")
        parser.add_argument("--expires", type=argument(parse_duration), default="30m", help="duration (default: 30m)")
        parser.add_argument("--auto-approve", action="store_true", help="approve the machine at once")
        parser.add_argument("--tag", type=argument(tag), nargs="+", action="extend", default=[], metavar="k=v")

    def act(self, **options: Any) -> None:
        _, secret = create_enrollment_token(
            name=options["name"],
            host_name=options["host"],
            uses=options["uses"],
            expires_in_s=options["expires"],
            auto_approve=options["auto_approve"],
            tags=dict(options["tag"]),
            actor=OPERATOR,
        )
        self.stdout.write(secret)
