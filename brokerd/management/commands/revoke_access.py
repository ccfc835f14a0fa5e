"""End a grant."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand
from terminals.grants import revoke_grant
from terminals.models import Grant
from tunnels.audit import OPERATOR
from tunnels.errors import NotFound


class Command(ActCommand):
    help = "Revokes a grant; terminal sessions that nothing else allows end within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int, metavar="ID", help="as grant_access printed it")

    def act(self, **options: Any) -> None:
        grant = Grant.objects.select_related("person", "group", "host").filter(pk=options["id"]).first()
        if grant is None:
            raise NotFound(f"there is no grant {options['id']}")
        revoke_grant(grant=grant, actor=OPERATOR)
        self.stdout.write(f"revoked grant {grant.pk}")
