"""Rows that live things leave in the database."""

from __future__ import annotations

from typing import Any

from terminals.models import Grant, Person, Session
from tests.people.helpers import ADDRESS
from tunnels.models import Host


def give(person: Person, host: Host, *logins: str, **more: Any) -> Grant:
    facts = {"logins": list(logins or ("root",)), "capabilities": ["terminal"], **more}
    return Grant.objects.create(person=person, host=host, **facts)


def session_row(person: Person, host: Host, **more: Any) -> Session:
    return Session.objects.create(
        **{"person": person, "host": host, "login": "root", "node": "node-1", "address": ADDRESS, **more}
    )
