"""Make a personal API token and print it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, argument
from brokerd.times import parse_time
from terminals.api_tokens import MEANING, Scope, create_api_token
from terminals.people import find_person
from tunnels import clock
from tunnels.audit import OPERATOR


class Command(ActCommand):
    help = "Makes an API token and prints it, alone; it is kept nowhere and cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        scopes = "; ".join(f"{scope}: {meaning}" for scope, meaning in MEANING.items())
        parser.add_argument("person", metavar="PERSON")
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument(
            "--scope", nargs="+", action="extend", default=[], choices=list(Scope), metavar="S", help=scopes
        )
        parser.add_argument(
            "--expires",
            type=argument(lambda text: parse_time(text, clock.now())),
            metavar="T",
            help="ISO 8601 with zone, or a duration from now (default: never)",
        )

    def act(self, **options: Any) -> None:
        _, secret = create_api_token(
            person=find_person(options["person"]),
            name=options["name"],
            scopes=options["scope"],
            expires_at=options["expires"],
            actor=OPERATOR,
        )
        self.stdout.write(secret)
