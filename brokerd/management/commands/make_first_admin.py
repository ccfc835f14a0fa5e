"""Where nobody has an account yet: makes `admin`, who is auditor as well, and prints the password, alone."""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand

from terminals.models import Person
from terminals.people import create_person
from tunnels.audit import OPERATOR


class Command(BaseCommand):
    help = "Make the account 'admin' with a random password, unless there are accounts already."

    def handle(self, *args: Any, **options: Any) -> None:
        if Person.objects.exists():
            return
        password = secrets.token_urlsafe(15)
        create_person(name="admin", password=password, admin=True, auditor=True, actor=OPERATOR)
        self.stdout.write(password)
