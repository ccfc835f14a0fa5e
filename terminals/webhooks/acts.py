"""The acts on webhooks: added, changed, turned off and on, given a new secret, tried, removed. All for admins.

The audit names a webhook and where it leads, but no more of its URL than that: its path often is a password.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from terminals.models import Delivery, Webhook
from terminals.webhooks.news import TEST, Kind, about
from terminals.webhooks.queue import add
from terminals.webhooks.secret import secret_of
from terminals.webhooks.targets import wrong_url
from tunnels.acts import act
from tunnels.audit import Actor, Event, as_dict, newest_sequence, record
from tunnels.errors import Conflict, Invalid, NotFound
from tunnels.models import AuditEvent
from tunnels.text import is_printable

MAX_WEBHOOKS = 50


def create_webhook(
    *, name: str, url: str, events: Iterable[str], allows_private: bool = False, actor: Actor
) -> tuple[Webhook, str]:
    """The webhook and its signing secret, which is shown this once. It is told of what happens from now on."""
    with act(Event.SETTING_CHANGED, actor=actor, setting="webhook", webhook=name[:64], change="added"):
        if not 0 < len(name) <= 64 or not is_printable(name):
            raise Invalid("a webhook needs a name of 1 to 64 characters, such as the program that it tells")
        if wrong := wrong_url(url, allows_private=allows_private):
            raise Invalid(wrong)
        if Webhook.objects.count() >= MAX_WEBHOOKS:
            raise Conflict(f"there are {MAX_WEBHOOKS} webhooks already; remove one")
        webhook = Webhook.objects.create(
            name=name, url=url, events=_checked(events), allows_private=allows_private, created_by=actor.person
        )
        _record(webhook, actor, "added", events=webhook.events, allows_private=allows_private)
        _begin(webhook)
    return webhook, secret_of(webhook)


def choose_events(*, webhook: Webhook, events: Iterable[str], actor: Actor) -> None:
    """What it is told from now on. What waits to be sent is sent."""
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "events")):
        webhook = _lock(webhook)
        webhook.events = _checked(events)
        webhook.save(update_fields=["events"])
        _record(webhook, actor, "events", events=webhook.events)


def disable_webhook(*, webhook: Webhook, actor: Actor) -> None:
    """Nothing is sent any more. What happens meanwhile is not told later; what waits already goes on waiting."""
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "disabled")):
        webhook = _lock(webhook)
        if webhook.disabled_at is not None:
            raise Conflict(f"{webhook.name} is disabled already")
        webhook.disabled_at = timezone.now()
        webhook.save(update_fields=["disabled_at"])
        _record(webhook, actor, "disabled")


def enable_webhook(*, webhook: Webhook, actor: Actor) -> None:
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "enabled")):
        webhook = _lock(webhook)
        if webhook.disabled_at is None:
            raise Conflict(f"{webhook.name} is enabled already")
        webhook.disabled_at = None
        webhook.save(update_fields=["disabled_at"])
        _record(webhook, actor, "enabled")
        _begin(webhook)


def rotate_secret(*, webhook: Webhook, actor: Actor) -> str:
    """A new secret, which signs from now on; the old one never again."""
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "secret")):
        webhook = _lock(webhook)
        webhook.rotation += 1
        webhook.save(update_fields=["rotation"])
        _record(webhook, actor, "secret", rotation=webhook.rotation)
    return secret_of(webhook)


def remove_webhook(*, webhook: Webhook, actor: Actor) -> None:
    """With its deliveries. A request that is on its way may still arrive."""
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "removed")):
        webhook = _lock(webhook)
        _record(webhook, actor, "removed")
        webhook.delete()


def send_test(*, webhook: Webhook, actor: Actor) -> None:
    """Queue a test. It takes its turn; the first one in the queue is tried at once, whenever it was due."""
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "tested")):
        webhook = _lock(webhook)
        if webhook.disabled_at is not None:
            raise Conflict(f"{webhook.name} is disabled; enable it first")
        entry = as_dict(_record(webhook, actor, "tested"))
        missed = webhook.missed
        add(webhook, [about(TEST, entry, webhook=webhook.name)], timezone.now())
        if webhook.missed > missed:
            raise Conflict("too many deliveries wait already; see what the receiver answers to those")
        webhook.save(update_fields=["missed"])
        if head := webhook.deliveries.filter(next_attempt_at__isnull=False).first():
            _try_now(head)


def deliver_again(*, delivery: Delivery, actor: Actor) -> None:
    """Send it once more: one that is over a single time, one that waits now instead of later."""
    webhook = delivery.webhook
    with act(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, "delivered again"), delivery=delivery.pk):
        webhook = _lock(webhook)
        if webhook.disabled_at is not None:
            raise Conflict(f"{webhook.name} is disabled; enable it first")
        if (row := webhook.deliveries.filter(pk=delivery.pk).first()) is None:
            raise NotFound(f"there is no delivery {delivery.pk} any more")
        if row.next_attempt_at is None:
            row.delivered_at, row.give_up_at = None, timezone.now()
        _try_now(row)
        _record(webhook, actor, "delivered again", delivery=row.pk, told=row.event)


def _try_now(row: Delivery) -> None:
    row.next_attempt_at = timezone.now()
    row.save(update_fields=["next_attempt_at", "delivered_at", "give_up_at"])


def _begin(webhook: Webhook) -> None:
    """It is told of what comes after this, and believes hosts to be as they are."""
    webhook.next_sequence, webhook.presence, webhook.missed = newest_sequence() + 1, {}, 0
    webhook.save(update_fields=["next_sequence", "presence", "missed"])


def _checked(events: Iterable[str]) -> list[str]:
    chosen = set(events)
    if unknown := sorted(chosen - set(Kind)):
        raise Invalid(f"{unknown[0][:64]!r} is no event; there are {', '.join(Kind)}")
    if not chosen:
        raise Invalid("choose at least one event")
    return [kind.value for kind in Kind if kind in chosen]


def _lock(webhook: Webhook) -> Webhook:
    """The row as it is now, held until the act's transaction ends."""
    fresh = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
    if fresh is None:
        raise NotFound(f"there is no webhook {webhook.name} any more")
    return fresh


def _facts(webhook: Webhook, change: str) -> dict[str, Any]:
    parts = urlsplit(webhook.url)
    return {"setting": "webhook", "webhook": webhook.name, "change": change, "to": f"{parts.scheme}://{parts.netloc}"}


def _record(webhook: Webhook, actor: Actor, change: str, **more: Any) -> AuditEvent:
    return record(Event.SETTING_CHANGED, actor=actor, **_facts(webhook, change), **more)
