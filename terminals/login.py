"""Logging in to the portal: allauth without sign-up. People are made by an admin."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from terminals.login_audit import note_failure


class ClosedAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """allauth's own limits. An attempt past them never gets to Django, which would have reported it."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            note_failure(request, credentials.get("username", ""), "too many attempts")
            raise
