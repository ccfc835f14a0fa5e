"""allauth's forms for what must be guessed by nobody: each try counts (`lockout`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account import forms as account
from allauth.core import context
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as codes
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as passkeys
from django.core.exceptions import ValidationError
from django.db import transaction
from fido2.webauthn import AuthenticationResponse

from terminals import lockout
from terminals.login import begin_attempt
from terminals.login_audit import note_failure
from terminals.models import Person
from terminals.sealing import Unreadable
from tunnels.text import is_printable

MAX_PASSKEY_NAME = 64
MAX_PASSKEYS = 20
USED = "used_step"
"""In the data of an app: of which half minute a code was taken."""


@contextmanager
def _counted(person: Person) -> Iterator[None]:
    row = begin_attempt(context.request, person.username)
    try:
        yield
    except Unreadable as error:
        raise ValidationError("Your second factor cannot be read any more. Ask an admin to remove it.") from error
    lockout.passed(row)


class _Code(codes.BaseAuthenticateForm):
    def clean_code(self) -> str:
        with _counted(self.user):
            code = str(super().clean_code())
            if self.authenticator.type == Authenticator.Type.TOTP and not _use_up(self.authenticator):
                self._emit_authentication_failed(self.authenticator)
                raise get_adapter().validation_error("incorrect_code")
            return code


def _use_up(app: Authenticator) -> bool:
    """A code holds once. allauth remembers that in memory, which a restart forgets; here it is kept with the app."""
    step = int(time.time()) // app_settings.TOTP_PERIOD
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=app.pk)
        is_new: bool = row.data.get(USED) != step
        row.data[USED] = step
        row.save(update_fields=["data"])
    return is_new


class CodeForm(_Code, codes.AuthenticateForm):
    """A code of the app, or a recovery code, at the login."""


class CodeAgainForm(_Code, codes.ReauthenticateForm):
    pass


class PasskeyForm(passkeys.AuthenticateWebAuthnForm):
    """A passkey after the password."""

    def clean_credential(self) -> Any:
        with _told(self.user.username):
            return super().clean_credential()


class PasskeyAgainForm(passkeys.ReauthenticateWebAuthnForm):
    def clean_credential(self) -> Any:
        with _told(self.user.username):
            return super().clean_credential()


class PasskeyAloneForm(passkeys.LoginWebAuthnForm):
    """A passkey in place of name and password.

    It asks for a PIN or a finger. The browser holds one challenge at a time, and that may have been made for a login
    with a password, where a touch will do: hence it is the answer that is looked at.
    """

    def clean_credential(self) -> Any:
        with _told(""):
            said = AuthenticationResponse.from_dict(self.cleaned_data["credential"])
            if not said.response.authenticator_data.is_user_verified():
                raise get_adapter().validation_error("incorrect_code")
            return super().clean_credential()


@contextmanager
def _told(name: str) -> Iterator[None]:
    """A signature is not guessed, so it locks nobody out; that one was wrong is on record."""
    try:
        with _understood():
            yield
    except ValidationError:
        note_failure(context.request, name, "wrong passkey")
        raise


@contextmanager
def _understood() -> Iterator[None]:
    """What a stranger made up in place of a browser's answer breaks the parsers behind allauth's forms."""
    try:
        yield
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValidationError("This is no passkey.") from error


class AddPasskeyForm(passkeys.AddWebAuthnForm):
    def clean_name(self) -> str:
        return _name(super().clean_name())

    def clean(self) -> dict[str, Any]:
        if Authenticator.objects.filter(user=self.user, type=Authenticator.Type.WEBAUTHN).count() >= MAX_PASSKEYS:
            raise ValidationError(f"You have {MAX_PASSKEYS} passkeys, which is the most there may be. Remove one.")
        with _understood():
            cleaned: dict[str, Any] = super().clean()
        return cleaned


class RenamePasskeyForm(passkeys.EditWebAuthnForm):
    def clean_name(self) -> str:
        return _name(self.cleaned_data["name"])


def _name(name: str) -> str:
    if len(name) > MAX_PASSKEY_NAME or not is_printable(name):
        raise ValidationError(f"A passkey's name is up to {MAX_PASSKEY_NAME} printable characters.")
    return name


class ChangePasswordForm(account.ChangePasswordForm):
    def clean_oldpassword(self) -> str:
        with _counted(self.user):
            return str(super().clean_oldpassword())
