"""Replace the certificate authority's key or the gateway's, without losing a host."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand
from tunnels import keystore
from tunnels.audit import OPERATOR
from tunnels.keys import describe
from tunnels.keystore import Role
from tunnels.models import Host
from tunnels.rotation import NAMES, begin_rotation, behind, finish_rotation


class Command(ActCommand):
    help = (
        "Without an option: makes the next key of the certificate authority (ca) or of the gateway, which hosts learn "
        "while the old one holds, or says how far that is. With --finish: puts it in force; the old one is gone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", choices=list(Role), type=Role, metavar="ca|gateway")
        parser.add_argument("--finish", action="store_true", help="put the next key in force")
        parser.add_argument(
            "--leave-behind", action="store_true", help="with --finish: also where hosts do not know it yet"
        )

    def act(self, **options: Any) -> None:
        role: Role = options["role"]
        if options["finish"]:
            new = finish_rotation(role=role, leave_behind=options["leave_behind"], actor=OPERATOR)
            self.stdout.write(f"the {NAMES[role]} is now {new}")
            return
        if keystore.next_key(role) is None:
            begin_rotation(role=role, actor=OPERATOR)
        self._tell(role)

    def _tell(self, role: Role) -> None:
        now, coming = (describe(key).fingerprint for key in keystore.keys(role))
        left = sorted(behind(role).values_list("name", flat=True))
        knowing = Host.objects.approved().count() - len(left)
        self.stdout.write(f"{NAMES[role]}  in force {now}  next {coming}")
        self.stdout.write(f"{knowing} hosts know the next one, {len(left)} do not yet{':' if left else ''}")
        for name in left:
            self.stdout.write(f"  {name}")
