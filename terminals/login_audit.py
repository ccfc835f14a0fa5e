"""Who logged in, failed to and logged out, for the audit.

The one place where we listen to signals: they are the report of the door itself (Django's `login`, `authenticate` and
`logout`, allauth's password form), whichever page or admin it stands in, and there is no act of ours around it.
"""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from terminals.models import Person
from tunnels.audit import Actor, Event, record


def note_failure(request: HttpRequest | None, name: str, reason: str) -> None:
    """`name` is recorded as it was given: it may be nobody's."""
    with transaction.atomic():
        record(Event.PERSON_LOGIN_FAILED, actor=_actor(name, request), refused=True, reason=reason)


@receiver(user_logged_in)
def _logged_in(request: HttpRequest, user: Person, **_: Any) -> None:
    with transaction.atomic():
        record(Event.PERSON_LOGGED_IN, actor=_actor(user.username, request))


@receiver(user_login_failed)
def _login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    name = str(credentials.get("username", ""))
    active = Person.objects.filter(username=name).values_list("is_active", flat=True).first()
    reason = {None: "unknown person", False: "disabled", True: "wrong password"}[active]
    note_failure(request, name, reason)


@receiver(user_logged_out)
def _logged_out(request: HttpRequest, user: Person | None, **_: Any) -> None:
    if user is not None:
        with transaction.atomic():
            record(Event.PERSON_LOGGED_OUT, actor=_actor(user.username, request))


@receiver(password_changed)
def _password_changed(request: HttpRequest, user: Person, **_: Any) -> None:
    with transaction.atomic():
        actor = _actor(user.username, request)
        record(Event.SETTING_CHANGED, actor=actor, setting=f"person {user.username}", changed="password")


def _actor(name: str, request: HttpRequest | None) -> Actor:
    return Actor(person=name, address=request.META.get("REMOTE_ADDR", "") if request else "")
