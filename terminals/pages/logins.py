"""One's own logins to the portal, ended one by one or all others at once. They are listed on the account's page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from terminals.login_store import web_login
from terminals.models import WebLogin
from terminals.pages.frame import refusal_shown
from terminals.pages.guards import PersonRequest, actor_of, people
from terminals.people import end_login, end_logins


@people
@require_POST
def end(request: PersonRequest, login_id: str) -> HttpResponse:
    login = get_object_or_404(WebLogin, login=login_id, person=request.user)
    with refusal_shown(request):
        end_login(login=login, actor=actor_of(request))
        messages.success(request, "That browser is logged out, and what was opened from it ends.")
    return redirect("account")


@people
@require_POST
def end_others(request: PersonRequest) -> HttpResponse:
    with refusal_shown(request):
        count = end_logins(person=request.user, actor=actor_of(request), but=web_login(request))
        words = {0: "No other browser was logged in.", 1: "1 other browser is logged out."}
        messages.success(request, words.get(count, f"{count} other browsers are logged out."))
    return redirect("account")
