"""One's own SSH keys: added by paste or as a file, and removed. They are listed on the account's page."""

from __future__ import annotations

from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST

from terminals.keys import add_key, is_security_key, remove_key
from terminals.models import PersonKey
from terminals.pages.account import show_account
from terminals.pages.forms import PublicKeyForm
from terminals.pages.frame import refusal_shown
from terminals.pages.guards import PersonRequest, actor_of, people


@people
@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: PersonRequest) -> HttpResponse:
    """A key that is refused is told so on the page that the answer is; its address leads there again."""
    if request.method != "POST":
        return redirect("account")
    form = PublicKeyForm(request.POST, request.FILES)
    if form.is_valid():
        with refusal_shown(request, form):
            if is_security_key(form.text):  # it counts as a second factor, and is added like one
                raise_if_reauthentication_required(request, app="allauth.mfa")
            key = add_key(person=request.user, text=form.text, actor=actor_of(request))
            messages.success(request, f"Key {key.fingerprint} is added.")
            return redirect("account")
    form.forget_private()
    return show_account(request, key_form=form)


@people
@require_POST
def remove(request: PersonRequest, key_id: int) -> HttpResponse:
    key = get_object_or_404(PersonKey.objects.select_related("person"), pk=key_id, person=request.user)
    with refusal_shown(request):
        remove_key(key=key, actor=actor_of(request))
        messages.success(request, f"Key {key.fingerprint} is removed.")
    return redirect("account")
