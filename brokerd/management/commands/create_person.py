"""Make a portal user."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand
from terminals.people import create_person
from tunnels.audit import OPERATOR


class Command(ActCommand):
    help = "Makes a person. Without --password-stdin they cannot log in to the portal until an admin sets a password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--admin", action="store_true", help="may approve machines and make grants")
        parser.add_argument("--auditor", action="store_true", help="may read the audit log")
        parser.add_argument("--password-stdin", action="store_true", help="the first line of the input is the password")

    def act(self, **options: Any) -> None:
        password = sys.stdin.readline().rstrip("\r\n") if options["password_stdin"] else None
        create_person(
            name=options["name"],
            password=password,
            admin=options["admin"],
            auditor=options["auditor"],
            actor=OPERATOR,
        )
        self.stdout.write(f"created {options['name']}")
