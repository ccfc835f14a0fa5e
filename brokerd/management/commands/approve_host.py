"""Approve a machine that waits, by name, and say which key that was."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand, host_named
from terminals.grants import create_grant
from terminals.models import Person
from tunnels.acts import act
from tunnels.audit import OPERATOR, Event
from tunnels.enrollment import approve_enrollment
from tunnels.errors import NotFound
from tunnels.models import State


class Command(ActCommand):
    help = "Approves a pending host (or one that was rejected) and prints the fingerprint that it approves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--grant-to", metavar="PERSON", help="also let this person open terminals as its login")

    def act(self, **options: Any) -> None:
        host = host_named(options["name"], State.PENDING, State.REJECTED)
        # One act: a grant that is refused leaves the host waiting.
        with act(Event.HOST_APPROVED, actor=OPERATOR, host=host.name):
            host = approve_enrollment(host=host, fingerprint=host.fingerprint, actor=OPERATOR)
            if name := options["grant_to"]:
                create_grant(actor=OPERATOR, person=_person(name), host=host, logins=[host.login])
        self.stdout.write(f"approved {host.name} {host.fingerprint} (code {host.code}, asked from {host.address})")
        if name:
            self.stdout.write(f"granted {name} terminals on {host.name} as {host.login}")


def _person(name: str) -> Person:
    if (person := Person.objects.filter(username=name, is_active=True).first()) is None:
        raise NotFound(f"there is no person {name} who could be granted anything; create_person makes one")
    return person
