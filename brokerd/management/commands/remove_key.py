"""Take a person's public key away."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand
from terminals.keys import find_key, remove_key
from terminals.people import find_person
from tunnels.audit import OPERATOR


class Command(ActCommand):
    help = "Removes a public key from a person's account: it opens nothing any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person", metavar="PERSON")
        parser.add_argument("fingerprint", metavar="FINGERPRINT", help="SHA256:..., as list_keys shows it")

    def act(self, **options: Any) -> None:
        key = find_key(find_person(options["person"]), options["fingerprint"])
        remove_key(key=key, actor=OPERATOR)
        self.stdout.write(f"removed {key.fingerprint}")
