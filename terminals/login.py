"""Logging in to the portal: allauth without sign-up, with second factors. People are made by an admin."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from terminals import lockout
from terminals.login_audit import note_failure
from terminals.models import LoginAttempt
from terminals.sealing import seal, unseal
from tunnels.errors import TooMany
from tunnels.throttle import source_of

NOTED_EVERY_S = 60
"""How often it is put on record that an address is kept waiting; whoever guesses must not fill the audit log."""
BEGUN_WITH = "begun_with"
"""In the data of a visitor: what stood for the password of whom they are about to be."""
LOOPBACK = frozenset({"127.0.0.1", "::1"})


def begin_attempt(request: HttpRequest, name: str) -> LoginAttempt:
    """As `lockout.begin`, for a form: ValidationError says how long to wait."""
    address = request.META["REMOTE_ADDR"]
    try:
        return lockout.begin(name, address)
    except TooMany as refused:
        if cache.add(f"locked-out-{source_of(address)}", True, NOTED_EVERY_S):
            note_failure(request, name, "too many attempts")
        raise ValidationError(f"{str(refused).capitalize()}.", code="too_many_attempts") from refused


class ClosedAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Every password of the portal is judged here: at the login, and when somebody shows again that it is them."""
        row = begin_attempt(request, credentials.get("username", ""))
        person = super().authenticate(request, **credentials)
        if person is not None:
            lockout.passed(row)
        return person

    def pre_login(self, request: HttpRequest, user: Any, **facts: Any) -> Any:
        request.session[BEGUN_WITH] = user.get_session_auth_hash()
        return super().pre_login(request, user, **facts)

    def login(self, request: HttpRequest, user: Any) -> None:
        """The last step, perhaps minutes after the first: what held then must hold still."""
        if not user.is_active:
            raise ImmediateHttpResponse(self.respond_user_inactive(request, user))
        if request.session.pop(BEGUN_WITH, None) != user.get_session_auth_hash():
            raise ImmediateHttpResponse(_turned_away(request, user, "the password has changed meanwhile"))
        super().login(request, user)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        return _turned_away(request, user, "disabled")

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """allauth's own limits, which a restart would forget."""

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Who has a second factor shows that: else a password alone could take the factor away, or add one."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        factors = [method for method in methods if method["id"] != "reauthenticate"]
        return factors or methods

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Nobody has an e-mail address here; the audit has it."""


def _turned_away(request: HttpRequest, user: Any, reason: str) -> HttpResponse:
    """Of somebody who has proved who they are, or were."""
    note_failure(request, user.username, reason)
    messages.error(request, f"You were not logged in: {reason}.")
    return redirect("account_login")


class FactorAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {"id": relying_party(), "name": "brokerd"}

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:  # noqa: A002
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"


def relying_party() -> str:
    """The name that passkeys are made for. A browser takes no address for one, and only `localhost` without TLS."""
    host = urlsplit(settings.BROKERD.portal_url).hostname or "localhost"
    return "localhost" if host in LOOPBACK else host


def takes_passkeys(request: HttpRequest) -> bool:
    """Whether the page that was asked for stands where browsers offer them."""
    host = urlsplit(f"//{request.get_host()}").hostname
    return host == relying_party() and (request.is_secure() or host == "localhost")
