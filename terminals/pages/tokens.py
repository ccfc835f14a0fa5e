"""Enrollment tokens: made with the commands that use them, listed, revoked."""

from __future__ import annotations

from datetime import datetime

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST

from terminals.pages import commands
from terminals.pages.forms import EnrollmentTokenForm
from terminals.pages.frame import refusal_shown, show
from terminals.pages.guards import PersonRequest, actor_of, admins
from tunnels import clock
from tunnels.models import EnrollmentToken
from tunnels.tokens import create_enrollment_token, revoke_enrollment_token

MAX_SHOWN = 100


@admins
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: PersonRequest) -> HttpResponse:
    form = EnrollmentTokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusal_shown(request, form):
            return _shown_once(request, *_create(request, form))
    return _list(request, form)


@admins
@require_POST
def revoke_token(request: PersonRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(EnrollmentToken, pk=token_id)
    with refusal_shown(request):
        revoke_enrollment_token(token=token, actor=actor_of(request))
        messages.success(request, f"Token {token.name} is revoked.")
    return redirect("tokens")


def _create(request: PersonRequest, form: EnrollmentTokenForm) -> tuple[EnrollmentToken, str]:
    given = form.cleaned_data
    return create_enrollment_token(
        name=given["name"],
        host_name=given["host_name"],
        uses=given["uses"],
        expires_in_s=given["expires"],
        auto_approve=given["auto_approve"],
        tags=given["tags"],
        actor=actor_of(request),
    )


def _shown_once(request: PersonRequest, token: EnrollmentToken, secret: str) -> HttpResponse:
    """The answer to the POST itself: a redirect would need the secret to be kept somewhere in between."""
    context = {
        "section": "approvals",
        "token": token,
        "secret": secret,
        "agent": commands.agent(token=secret, name=token.host_name),
        "install": commands.install(token=secret, name=token.host_name),
        "steps": commands.stock_ssh(token=secret, name=token.host_name),
    }
    return show(request, "approvals/token_made.html", context)


def _list(request: PersonRequest, form: EnrollmentTokenForm) -> HttpResponse:
    held = list(EnrollmentToken.objects.all()[:MAX_SHOWN])
    now = clock.now()
    rows = [(token, _state(token, now)) for token in held]
    return show(request, "approvals/tokens.html", {"section": "approvals", "form": form, "rows": rows})


def _state(token: EnrollmentToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at <= now:
        return "expired"
    return "used up" if token.used >= token.uses else "usable"
