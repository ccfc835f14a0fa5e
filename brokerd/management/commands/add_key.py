"""Let a person in by a public key."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from brokerd.management.base import ActCommand
from terminals.keys import add_key
from terminals.people import find_person
from tunnels.audit import OPERATOR

MAX_FILE = 64 * 1024
"""Characters: enough to say what is wrong with a file that is no public key."""


class Command(ActCommand):
    help = "Adds a public key to a person's account and prints its fingerprint."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person", metavar="PERSON")
        parser.add_argument(
            "file", metavar="FILE", nargs="?", type=Path, help="such as id_ed25519.pub (default: standard input)"
        )

    def act(self, **options: Any) -> None:
        text = _read(options["file"]) if options["file"] else _read_input()
        key = add_key(person=find_person(options["person"]), text=text, actor=OPERATOR)
        self.stdout.write(key.fingerprint)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error


def _read_input() -> str:
    try:
        return sys.stdin.read(MAX_FILE)
    except UnicodeDecodeError as error:
        raise CommandError("the input is not text, as a public key is") from error
