"""Webhooks, for admins: added, tried and removed, and what became of each delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from terminals.models import Delivery, Webhook
from terminals.pages import live
from terminals.pages.forms import WebhookEventsForm, WebhookForm
from terminals.pages.frame import refusal_shown, show
from terminals.pages.guards import PersonRequest, actor_of, admins
from terminals.webhooks import acts

SHOWN = 100


@admins
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: PersonRequest) -> HttpResponse:
    """The POST that adds one is answered with its secret, which cannot be shown again."""
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusal_shown(request, form):
            webhook, secret = acts.create_webhook(**form.cleaned_data, actor=actor_of(request))
            return _shown_once(request, webhook, secret)
    held = [(webhook, urlsplit(webhook.url).netloc) for webhook in _counted(Webhook.objects.all())]
    return show(request, "webhooks/list.html", {"section": "webhooks", "form": form, "webhooks": held})


@admins
@require_safe
def webhook(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    found = get_object_or_404(_counted(Webhook.objects.filter(pk=webhook_id)))
    rows = found.deliveries.order_by("-id")[:SHOWN]
    lists = {
        "webhook_state": live.items(request, "webhooks/state.html", [("state", {"webhook": found})]),
        "deliveries": live.items(
            request, "webhooks/delivery.html", [(str(row.pk), {"row": row, "webhook": found}) for row in rows]
        ),
    }
    context = {
        "section": "webhooks",
        "webhook": found,
        "form": WebhookEventsForm(initial={"events": found.events}),
    }
    return live.answer(request, "webhooks/detail.html", "webhooks/region.html", lists, context)


@admins
@require_POST
def choose(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    found, events = _find(webhook_id), request.POST.getlist("events")
    done = f"{found.name} is told of these events from now on."
    return _do(request, found, lambda: acts.choose_events(webhook=found, events=events, actor=actor_of(request)), done)


@admins
@require_POST
def test(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    return _act(request, webhook_id, acts.send_test, "A test is on its way to {}.")


@admins
@require_POST
def disable(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    return _act(request, webhook_id, acts.disable_webhook, "{} is disabled: nothing is sent to it.")


@admins
@require_POST
def enable(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    return _act(request, webhook_id, acts.enable_webhook, "{} is told of what happens from now on.")


@admins
@require_POST
def rotate(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    found, secret = _find(webhook_id), ""
    with refusal_shown(request):
        secret = acts.rotate_secret(webhook=found, actor=actor_of(request))
    return _shown_once(request, found, secret) if secret else redirect("webhook", found.pk)


@admins
@require_POST
def remove(request: PersonRequest, webhook_id: UUID) -> HttpResponse:
    found = _find(webhook_id)
    with refusal_shown(request):
        acts.remove_webhook(webhook=found, actor=actor_of(request))
        messages.success(request, f"{found.name} is removed.")
    return redirect("webhooks")


@admins
@require_POST
def again(request: PersonRequest, webhook_id: UUID, delivery_id: int) -> HttpResponse:
    found = _find(webhook_id)
    row = get_object_or_404(Delivery.objects.select_related("webhook"), pk=delivery_id, webhook=found)
    done = f"Delivery {row.pk} is sent again."
    return _do(request, found, lambda: acts.deliver_again(delivery=row, actor=actor_of(request)), done)


def _act(request: PersonRequest, webhook_id: UUID, act: Callable[..., object], done: str) -> HttpResponse:
    found = _find(webhook_id)
    return _do(request, found, lambda: act(webhook=found, actor=actor_of(request)), done.format(found.name))


def _do(request: PersonRequest, found: Webhook, what: Callable[[], object], done: str) -> HttpResponse:
    with refusal_shown(request):
        what()
        messages.success(request, done)
    return redirect("webhook", found.pk)


def _shown_once(request: PersonRequest, found: Webhook, secret: str) -> HttpResponse:
    """The answer to the POST itself: a redirect would need the secret to be kept somewhere in between."""
    return show(request, "webhooks/secret.html", {"section": "webhooks", "webhook": found, "secret": secret})


def _find(webhook_id: UUID) -> Webhook:
    return get_object_or_404(Webhook, pk=webhook_id)


def _counted(rows: QuerySet[Webhook]) -> QuerySet[Any]:
    """With `waiting`, `failing` and `given_up` deliveries, and when one was last taken."""
    waits = Q(deliveries__next_attempt_at__isnull=False)
    over = Q(deliveries__pk__isnull=False, deliveries__next_attempt_at=None)
    return rows.annotate(
        waiting=Count("deliveries", filter=waits),
        failing=Count("deliveries", filter=waits & Q(deliveries__attempts__gt=0)),
        given_up=Count("deliveries", filter=over & Q(deliveries__delivered_at=None)),
        last_taken=Max("deliveries__delivered_at"),
    )
