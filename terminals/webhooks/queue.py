"""What webhooks have yet to be told: taken from the audit log exactly once, kept until it was sent or given up.

A webhook's place in the log moves in the transaction that writes its deliveries, so a broker that is killed anywhere
neither forgets nor repeats one. Uses the database: not for an event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Min
from django.utils import timezone

from terminals.models import Delivery, Webhook
from terminals.webhooks.damping import Damper
from terminals.webhooks.news import Kind, News, body, tell
from terminals.webhooks.secret import secret_of
from terminals.webhooks.sending import Order, Outcome
from tunnels.audit import as_dict, newest_sequence
from tunnels.models import AuditEvent
from tunnels.text import printable

BATCH = 500
MAX_WAITING = 1000
"""Deliveries of one webhook that wait; what happens beyond is counted, and told with the next one."""
KEPT = 200
"""Deliveries of one webhook that are over and still shown."""
FIRST_RETRY_S = 5
LONGEST_RETRY_S = 3600
GIVE_UP_AFTER = timedelta(hours=24)

log = structlog.get_logger(__name__)


def look(*, since: float) -> None:
    """Write down what has happened for every webhook that is on; `since` as in `damping.Damper`."""
    for webhook in Webhook.objects.filter(disabled_at=None):
        while _has_news(webhook, since) and _fill(webhook.pk, since):
            webhook.refresh_from_db()


def due(now: datetime, *, busy: Collection[UUID], room: int) -> list[Order]:
    """The next delivery of each webhook that is not `busy` and whose time has come; those that wait longest first."""
    waiting = Delivery.objects.filter(next_attempt_at__isnull=False, webhook__disabled_at=None)
    heads = waiting.exclude(webhook__in=busy).order_by().values("webhook").annotate(head=Min("id"))
    rows = Delivery.objects.filter(pk__in=[row["head"] for row in heads], next_attempt_at__lte=now)
    return [_order(row) for row in rows.select_related("webhook").order_by("next_attempt_at")[:room]]


@transaction.atomic
def note(order: Order, outcome: Outcome, now: datetime) -> None:
    """Write down what became of an attempt: delivered, to be tried again, or given up."""
    row = Delivery.objects.select_for_update().filter(pk=order.delivery).first()
    if row is None:
        return  # its webhook was removed meanwhile
    row.attempts += 1
    row.status, row.problem = outcome.status, printable(outcome.problem, 200)
    if not outcome.problem:
        row.delivered_at, row.next_attempt_at = now, None
    elif now >= row.give_up_at:
        row.next_attempt_at = None
        log.warning("webhook given up", webhook=str(order.webhook), told=row.event, problem=row.problem)
    else:
        row.next_attempt_at = min(now + retry_after(row.attempts), row.give_up_at)
    row.save(update_fields=["attempts", "status", "problem", "delivered_at", "next_attempt_at"])
    _drop_old(order.webhook)


def add(webhook: Webhook, news: Iterable[News], now: datetime) -> None:
    """Append to the webhook's queue, as far as there is room. Inside a transaction that holds the webhook's row."""
    room = MAX_WAITING - webhook.deliveries.filter(next_attempt_at__isnull=False).count()
    rows: list[Delivery] = []
    for item in news:
        if len(rows) >= room:
            if not webhook.missed:
                log.warning("webhook has too many deliveries waiting: events are left out", webhook=webhook.name)
            webhook.missed += 1
            continue
        text = body(item, missed=webhook.missed)
        webhook.missed = 0
        facts = {"next_attempt_at": now, "give_up_at": now + GIVE_UP_AFTER}
        rows.append(Delivery(webhook=webhook, sequence=item.sequence, event=item.event, body=text, **facts))
    Delivery.objects.bulk_create(rows)


def retry_after(attempts: int) -> timedelta:
    """After so many failed ones."""
    return timedelta(seconds=min(FIRST_RETRY_S * 2 ** min(attempts - 1, 20), LONGEST_RETRY_S))


def _has_news(webhook: Webhook, since: float) -> bool:
    if webhook.next_sequence <= newest_sequence():
        return True
    damper = Damper(webhook.presence, since=since)
    return bool(damper.settle(timezone.now().timestamp())) or damper.kept() != webhook.presence


@transaction.atomic
def _fill(webhook_id: UUID, since: float) -> bool:
    """Take the webhook one batch further; whether there is more."""
    webhook = Webhook.objects.select_for_update().filter(pk=webhook_id, disabled_at=None).first()
    if webhook is None:
        return False
    now, news = timezone.now(), list[News]()
    damper = Damper(webhook.presence, since=since)
    entries = list(AuditEvent.objects.filter(sequence__gte=webhook.next_sequence).order_by("sequence")[:BATCH])
    for entry in entries:
        facts = as_dict(entry)
        news += damper.feed(facts)
        if told := tell(facts):
            news.append(told)
    if len(entries) < BATCH:
        news += damper.settle(now.timestamp())
    add(webhook, [item for item in news if item.event in webhook.events], now)
    if entries:
        webhook.next_sequence = entries[-1].sequence + 1
    watches = {Kind.HOST_ONLINE, Kind.HOST_OFFLINE} & set(webhook.events)
    webhook.presence = damper.kept() if watches else {}
    webhook.save(update_fields=["next_sequence", "presence", "missed"])
    return len(entries) == BATCH


def _order(row: Delivery) -> Order:
    webhook = row.webhook
    return Order(
        delivery=row.pk,
        webhook=webhook.pk,
        url=webhook.url,
        allows_private=webhook.allows_private,
        secret=secret_of(webhook),
        event=row.event,
        body=row.body,
        attempt=row.attempts + 1,
    )


def _drop_old(webhook_id: UUID) -> None:
    over = Delivery.objects.filter(webhook=webhook_id, next_attempt_at=None).order_by("-id")
    if oldest_kept := over.values_list("id", flat=True)[KEPT - 1 : KEPT].first():
        over.filter(pk__lt=oldest_kept).delete()
