"""Shut a person's account."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand
from terminals.people import disable_person, find_person
from tunnels.audit import OPERATOR


class Command(ActCommand):
    help = "Disables a person at once: logins, tokens and terminal sessions, on every node. An admin may enable again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def act(self, **options: Any) -> None:
        disable_person(person=find_person(options["name"]), actor=OPERATOR)
        self.stdout.write(f"disabled {options['name']}")
