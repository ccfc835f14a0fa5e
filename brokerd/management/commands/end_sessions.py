"""End live terminal sessions, in whichever process they live."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from brokerd.management.base import ActCommand, host_named
from terminals.models import Session
from terminals.people import end_logins, find_person
from terminals.sessions import end_session
from tunnels.audit import OPERATOR
from tunnels.models import State


class Command(ActCommand):
    help = "Ends live terminal sessions at once: those of a person, those on a host, or all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--person", metavar="NAME")
        which.add_argument("--host", metavar="NAME")
        which.add_argument("--all", action="store_true")
        parser.add_argument("--logins", action="store_true", help="with --person: log them out of the portal as well")
        parser.add_argument("--reason", default="ended by the operator of the broker", help="shown to the people")

    def act(self, **options: Any) -> None:
        if options["logins"] and not options["person"]:
            raise CommandError("--logins goes with --person")
        rows = Session.objects.filter(ended_at=None)
        if options["person"]:
            rows = rows.filter(person=find_person(options["person"]))
        if options["host"]:
            rows = rows.filter(host=host_named(options["host"], State.APPROVED, State.REVOKED))
        ended = sum(end_session(session_id=row.id, reason=options["reason"], actor=OPERATOR) for row in rows)
        self.stdout.write(f"{ended} terminal session{'' if ended == 1 else 's'} ended")
        if options["logins"]:
            count = end_logins(person=find_person(options["person"]), actor=OPERATOR)
            self.stdout.write(f"{count} login{'' if count == 1 else 's'} to the portal ended")
