"""Grants: made, listed, revoked, and the answer to "may this person do that?"."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from terminals.access import Capability, Decision
from terminals.grants import create_grant, revoke_grant
from terminals.models import Grant, Person
from terminals.pages.forms import ExplainForm, GrantForm
from terminals.pages.frame import refusal_shown, sentence, show
from terminals.pages.guards import PersonRequest, actor_of, admins
from terminals.reachable import decide_access
from tunnels.models import Host, HostTag

MAX_SHOWN = 500
MAX_SUGGESTED = 500
EXPLAIN_ID = "explain_%s"
"""Its fields are called like those of the other form on the page."""


@admins
@require_http_methods(["GET", "HEAD", "POST"])
def grants(request: PersonRequest) -> HttpResponse:
    form = GrantForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusal_shown(request, form):
            grant = create_grant(actor=actor_of(request), **form.facts())
            messages.success(request, f"Grant {grant.pk} is made.")
            return redirect("grants")
    standing = Grant.objects.standing().select_related("person", "group", "host")[:MAX_SHOWN]
    context = {
        "section": "grants",
        "form": form,
        "explain": ExplainForm(auto_id=EXPLAIN_ID),
        "grants": standing,
        **_suggestions(),
    }
    return show(request, "grants/list.html", context)


@admins
@require_POST
def revoke(request: PersonRequest, grant_id: int) -> HttpResponse:
    grant = get_object_or_404(Grant.objects.select_related("person", "group", "host"), pk=grant_id)
    with refusal_shown(request):
        revoke_grant(grant=grant, actor=actor_of(request))
        messages.success(request, f"Grant {grant.pk} is revoked. Sessions that nothing else allows end now.")
    return redirect("grants")


@admins
@require_safe
def explain(request: PersonRequest) -> HttpResponse:
    form = ExplainForm(request.GET or None, auto_id=EXPLAIN_ID)
    context: dict[str, Any] = {"section": "grants", "explain": form, **_suggestions()}
    if form.is_valid():
        decision = _decide(form)
        context |= {"decision": decision, "reason": sentence(decision.reason), "asked": form.cleaned_data}
        context["grant"] = Grant.objects.filter(pk=decision.grant or 0).first()
    return show(request, "grants/explain.html", context)


def _decide(form: forms.Form) -> Decision:
    asked = form.cleaned_data
    return decide_access(
        person=asked["person"],
        host=asked["host"],
        login=asked["login"],
        capability=Capability(asked["capability"]),
        address=asked["address"] or None,
    )


def _suggestions() -> dict[str, list[str]]:
    """For the browser's completion."""
    tags = HostTag.objects.values_list("key", "value").distinct().order_by("key", "value")[:MAX_SUGGESTED]
    return {
        "all_people": list(Person.objects.order_by("username").values_list("username", flat=True)[:MAX_SUGGESTED]),
        "all_groups": list(Group.objects.order_by("name").values_list("name", flat=True)[:MAX_SUGGESTED]),
        "all_hosts": list(Host.objects.approved().values_list("name", flat=True)[:MAX_SUGGESTED]),
        "all_tags": [f"{key}={value}" for key, value in tags],
    }
