"""REST for the look and ways of one's own terminals."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router

from terminals.api.auth import caller_of, callers
from terminals.api_tokens import Scope
from terminals.preferences import TerminalPreferences, preferences_of, set_preferences

router = Router(tags=["preferences"], auth=callers(Scope.SESSIONS))


@router.get("", response=TerminalPreferences, summary="Your terminal preferences")
def read_preferences(request: HttpRequest) -> TerminalPreferences:
    """All of them, with the defaults of those that you never changed."""
    return preferences_of(caller_of(request).person)


@router.put("", response=TerminalPreferences, summary="Change your terminal preferences")
def write_preferences(request: HttpRequest, body: TerminalPreferences) -> TerminalPreferences:
    """The whole of them: what is left out is the default again. Not by a token: it may not change the account."""
    caller = caller_of(request)
    caller.require_login()
    set_preferences(person=caller.person, preferences=body)
    return preferences_of(caller.person)
