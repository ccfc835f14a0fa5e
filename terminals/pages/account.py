"""One's own account: who one is here, the password, API tokens."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from terminals.api_tokens import create_api_token, refuse, revoke_api_token
from terminals.models import ApiToken
from terminals.pages.forms import ApiTokenForm
from terminals.pages.frame import refusal_shown, show
from terminals.pages.guards import PersonRequest, actor_of, people


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
    now = timezone.now()
    context = {
        "section": "account",
        "form": form,
        "secret": secret,
        "groups": list(request.user.groups.order_by("name")),
        "tokens": [(token, refuse(token, now)) for token in request.user.api_tokens.select_related("person")],
    }
    return show(request, "account/index.html", context)


@people
@require_POST
def revoke_token(request: PersonRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=token_id, person=request.user)
    with refusal_shown(request):
        revoke_api_token(token=token, actor=actor_of(request))
        messages.success(request, f"Token {token.name} is revoked.")
    return redirect("account")
