"""List a person's public keys."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, columns
from terminals.models import PersonKey
from terminals.people import find_person

COLUMNS = ("fingerprint", "type", "comment", "added", "last used", "from")


class Command(ActCommand):
    help = "Lists the public keys by which a person may connect."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person", metavar="PERSON")
        parser.add_argument("--json", action="store_true", help="as one JSON array")

    def act(self, **options: Any) -> None:
        person = find_person(options["person"])
        keys = list(person.keys.all())
        if options["json"]:
            self.stdout.write(json.dumps([_facts(key) for key in keys], indent=2))
        elif keys:
            self.stdout.write("\n".join(columns([COLUMNS, *map(_row, keys)])))
        else:
            self.stderr.write(f"{person.username} has no key; add_key {person.username} adds one")


def _row(key: PersonKey) -> tuple[str, ...]:
    added, used = key.created_at, key.last_used_at
    return (
        key.fingerprint,
        key.kind,
        key.comment or "-",
        f"{added:%Y-%m-%d}",
        f"{used:%Y-%m-%dT%H:%MZ}" if used else "never",
        key.last_used_address or "-",
    )


def _facts(key: PersonKey) -> dict[str, Any]:
    return {
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "bits": key.bits,
        "comment": key.comment,
        "line": key.line,
        "added": key.created_at.isoformat(),
        "last_used": key.last_used_at.isoformat() if key.last_used_at else None,
        "last_used_address": key.last_used_address,
    }
