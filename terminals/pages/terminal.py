"""The terminal's page. It opens nothing by itself: its script asks REST, which decides again."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from terminals.access import Capability
from terminals.pages.factors import asks_for_factor
from terminals.pages.frame import refusal_shown, sentence
from terminals.pages.guards import PersonRequest, people
from terminals.preferences import preferences_of
from terminals.reachable import decide_access, default_login, find_host, rights_on
from tunnels.models import Host


@people
@require_safe
def terminal(request: PersonRequest, name: str) -> HttpResponse:
    """A host out of reach is a 404 like any unknown one; on a host within reach the refusal says why."""
    address = request.META["REMOTE_ADDR"]
    with refusal_shown(request):
        host = find_host(request.user, name, address=address)
    login = request.GET.get("login") or _login(request, host)
    decision = decide_access(
        person=request.user, host=host, login=login, capability=Capability.TERMINAL, address=address
    )
    if not decision.allowed:
        raise PermissionDenied(sentence(decision.reason))
    if (way := asks_for_factor(request, host)) is not None:
        return way
    context = {"host": host.name, "login": login, "preferences": preferences_of(request.user).dict()}
    return render(request, "terminals/terminal.html", context)


def _login(request: PersonRequest, host: Host) -> str:
    rights = rights_on(request.user, [host], address=request.META["REMOTE_ADDR"])[host.pk]
    if (login := default_login(host, rights)) is None:
        raise PermissionDenied(f"No grant gives you a terminal on {host.name}.")
    return login
