"""Who logged in, failed to and logged out, and who changed what they prove it by, for the audit.

The one place where we listen to signals: they are the report of the door itself (Django's `login`, `authenticate` and
`logout`, allauth's forms), whichever page or admin it stands in, and there is no act of ours around it.
"""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import password_changed
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
    authenticator_used,
)
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from terminals import lockout
from terminals.login_store import note_login, web_login
from terminals.models import Person, WebLogin
from terminals.second_factor import note_factor
from tunnels import clock
from tunnels.audit import Actor, Event, record

FACTORS = {
    Authenticator.Type.TOTP: "app",
    Authenticator.Type.WEBAUTHN: "passkey",
    Authenticator.Type.RECOVERY_CODES: "recovery code",
}
"""What people call them."""


def note_failure(request: HttpRequest | None, name: str, reason: str) -> None:
    """`name` is recorded as it was given: it may be nobody's."""
    with transaction.atomic():
        record(Event.PERSON_LOGIN_FAILED, actor=_actor(name, request), refused=True, reason=reason)


@receiver(user_logged_in)
def _logged_in(request: HttpRequest, user: Person, **_: Any) -> None:
    note_login(request)
    used = [entry["type"] for entry in get_authentication_records(request, user) if entry["method"] == "mfa"]
    detail: dict[str, Any] = {"second_factor": FACTORS[used[-1]]} if used else {}
    with transaction.atomic():
        WebLogin.objects.filter(expire_date__lte=clock.now()).delete()
        if address := request.META.get("REMOTE_ADDR"):
            lockout.logged_in(user.username, address)
        record(Event.PERSON_LOGGED_IN, actor=_actor(user.username, request), **detail)


@receiver(user_login_failed)
def _login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    name = str(credentials.get("username", ""))
    active = Person.objects.filter(username=name).values_list("is_active", flat=True).first()
    reason = {None: "unknown person", False: "disabled", True: "wrong password"}[active]
    note_failure(request, name, reason)


@receiver(authentication_failed)
def _factor_failed(request: HttpRequest, user: Person, **_: Any) -> None:
    note_failure(request, user.username, "wrong code")


@receiver(user_logged_out)
def _logged_out(request: HttpRequest, user: Person | None, **_: Any) -> None:
    if user is not None:
        with transaction.atomic():
            record(Event.PERSON_LOGGED_OUT, actor=_actor(user.username, request))


@receiver(password_changed)
def _password_changed(request: HttpRequest, user: Person, **_: Any) -> None:
    """Whoever else is logged in as them is logged out, which ends what they have open as well."""
    with transaction.atomic():
        WebLogin.objects.filter(person=user).exclude(login=web_login(request)).delete()
        _changed(request, user, changed="password")


@receiver(authenticator_added)
def _factor_added(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        # It was just used, to set it up: asking for it again at once would prove nothing more.
        note_factor(request, user)
    with transaction.atomic():
        _changed(request, user, second_factor=FACTORS[authenticator.type], done="added")


@receiver(authenticator_removed)
def _factor_removed(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    with transaction.atomic():
        _changed(request, user, second_factor=FACTORS[authenticator.type], done="removed")


@receiver(authenticator_reset)
def _factor_reset(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    with transaction.atomic():
        _changed(request, user, second_factor=FACTORS[authenticator.type], done="made anew")


@receiver(authenticator_used)
def _factor_used(request: HttpRequest, user: Person, authenticator: Authenticator, **facts: Any) -> None:
    """At the login it is part of that event; later it is one of its own."""
    note_factor(request, user)
    if facts.get("reauthenticated"):
        with transaction.atomic():
            factor = FACTORS[authenticator.type]
            record(Event.PERSON_LOGGED_IN, actor=_actor(user.username, request), second_factor=factor, again=True)


def _changed(request: HttpRequest, user: Person, **facts: Any) -> None:
    actor = _actor(user.username, request)
    record(Event.SETTING_CHANGED, actor=actor, setting=f"person {user.username}", **facts)


def _actor(name: str, request: HttpRequest | None) -> Actor:
    return Actor(person=name, address=request.META.get("REMOTE_ADDR", "") if request else "")
