"""One's own account: who one is here, the password, second factors, logins, SSH keys, API tokens."""

from __future__ import annotations

from typing import Any

from allauth.mfa import app_settings as mfa
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from terminals.api_tokens import create_api_token, refuse, revoke_api_token
from terminals.login_store import web_login
from terminals.models import ApiToken
from terminals.pages import ways
from terminals.pages.browsers import browser_name
from terminals.pages.factors import passkeys_here
from terminals.pages.forms import ApiTokenForm, PublicKeyForm
from terminals.pages.frame import refusal_shown, show
from terminals.pages.guards import PersonRequest, actor_of, people
from tunnels import clock


@people
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: PersonRequest) -> HttpResponse:
    """The POST that makes a token is answered with its secret, which is kept nowhere to redirect to."""
    form, secret = ApiTokenForm(request.POST or None), ""
    if request.method == "POST" and form.is_valid():
        with refusal_shown(request, form):
            given = form.cleaned_data
            _, secret = create_api_token(
                person=request.user,
                name=given["name"],
                scopes=given["scopes"],
                expires_at=given["expires"],
                actor=actor_of(request),
            )
            form = ApiTokenForm()
    return show_account(request, form=form, secret=secret)


@people
@require_safe
def without_password(request: PersonRequest) -> HttpResponse:
    """Where allauth leads a person who wants to change a password and has none. A browser that is open sets none."""
    messages.error(request, "Your account has no password to change. An admin can give it one.")
    return redirect("account")


@people
@require_POST
def revoke_token(request: PersonRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=token_id, person=request.user)
    with refusal_shown(request):
        revoke_api_token(token=token, actor=actor_of(request))
        messages.success(request, f"Token {token.name} is revoked.")
    return redirect("account")


def show_account(
    request: PersonRequest,
    *,
    form: ApiTokenForm | None = None,
    secret: str = "",
    key_form: PublicKeyForm | None = None,
) -> HttpResponse:
    """The page with those of its forms that were sent as they were filled in, and `secret` for this once."""
    now = clock.now()
    context = {
        "section": "account",
        "form": form or ApiTokenForm(),
        "secret": secret,
        "groups": list(request.user.groups.order_by("name")),
        "tokens": [(token, refuse(token, now)) for token in request.user.api_tokens.select_related("person")],
        "key_form": key_form or PublicKeyForm(),
        "keys": list(request.user.keys.all()),
        **_factors(request),
        "logins": [
            (login, browser_name(login.browser), login.login == web_login(request))
            for login in request.user.web_logins.filter(expire_date__gt=now)
        ],
        "ways": ways.from_here(request.user, address=request.META["REMOTE_ADDR"]),
    }
    return show(request, "account/index.html", context)


def _factors(request: PersonRequest) -> dict[str, Any]:
    """What of the person's second factors is shown, none of their secrets."""
    rows = list(Authenticator.objects.filter(user=request.user).order_by("created_at"))
    by_type = {row.type: row for row in rows}
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    return {
        "app": by_type.get(Authenticator.Type.TOTP),
        "has_app": Authenticator.Type.TOTP in by_type,
        "passkeys": [row for row in rows if row.type == Authenticator.Type.WEBAUTHN],
        "codes": codes,
        "codes_left": mfa.RECOVERY_CODE_COUNT - codes.data["used_mask"].bit_count() if codes else 0,
        **passkeys_here(request),
    }
