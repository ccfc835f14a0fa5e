"""From the audit log into the queue, exactly once; out of it when delivered or given up."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from terminals.models import Delivery, Webhook
from terminals.webhooks import queue
from terminals.webhooks.acts import deliver_again, disable_webhook, remove_webhook, send_test
from terminals.webhooks.damping import SETTLE_S
from terminals.webhooks.queue import due, look, note, retry_after
from terminals.webhooks.sending import Order, Outcome
from tests.webhooks.helpers import ADMIN, happen, make_webhook, open_sessions, queued
from tunnels.audit import Event
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db
REFUSED = Outcome(500, "answers 500")


def take(now=None, **options) -> list[Order]:
    return due(now or timezone.now(), **{"busy": (), "room": 99, **options})


@pytest.fixture
def chat() -> Webhook:
    return make_webhook()


def test_only_what_it_asks_for(chat):
    picky = make_webhook(name="picky", events=["session.ended"])
    open_sessions("web1")
    happen(Event.SESSION_ENDED, host="web1", session="s1")
    happen(Event.PERSON_LOGGED_IN)
    look(since=0)
    assert queued(chat) == ["session.opened web1", "session.ended web1"]
    assert queued(picky) == ["session.ended web1"]


def test_each_is_queued_once_however_often_one_looks(chat):
    open_sessions("web1", "web2")
    for _ in range(5):
        look(since=0)
    assert queued(chat) == ["session.opened web1", "session.opened web2"]


@pytest.mark.parametrize("dies_at", ["bulk_create", "save"])
def test_a_broker_that_dies_in_between_neither_forgets_nor_repeats(chat, monkeypatch, dies_at):
    open_sessions("web1", "web2")
    owner = type(Delivery.objects) if dies_at == "bulk_create" else Webhook
    with monkeypatch.context() as patch:
        real = getattr(owner, dies_at)

        def die(self, *args, **kwargs):
            real(self, *args, **kwargs)
            raise KeyboardInterrupt

        patch.setattr(owner, dies_at, die)
        with pytest.raises(KeyboardInterrupt):
            look(since=0)
    assert queued(chat) == []
    look(since=0)
    assert queued(chat) == ["session.opened web1", "session.opened web2"]


def test_a_long_absence_is_caught_up_in_batches(chat, monkeypatch):
    monkeypatch.setattr(queue, "BATCH", 3)
    open_sessions(*(f"h{number}" for number in range(10)))
    look(since=0)
    assert queued(chat) == [f"session.opened h{number}" for number in range(10)]


def test_a_log_without_news_moves_on(chat):
    for _ in range(3):
        happen(Event.PERSON_LOGGED_IN)
    look(since=0)
    chat.refresh_from_db()
    assert chat.next_sequence == AuditEvent.objects.count() + 1


def test_an_offline_host_waits_in_the_row_and_is_told_in_time(chat, monkeypatch):
    happen(Event.TUNNEL_CLOSED, host="web1", reason="agent said goodbye")
    open_sessions("web2")
    look(since=0)
    assert queued(chat) == ["session.opened web2"]
    chat.refresh_from_db()
    assert list(chat.presence) == ["web1"]
    later = timezone.now() + timedelta(seconds=SETTLE_S)
    monkeypatch.setattr(timezone, "now", lambda: later)
    look(since=later.timestamp())
    assert queued(chat) == ["session.opened web2"], "a broker that has just begun gives it time to come back"
    look(since=0)
    look(since=0)
    assert queued(chat) == ["session.opened web2", "host.offline web1"]
    row = Delivery.objects.last()
    assert row.sequence < Delivery.objects.first().sequence
    assert json.loads(row.body)["detail"] == {"reason": "agent said goodbye"}


def test_who_asks_for_no_presence_keeps_none():
    webhook = make_webhook(events=["session.opened"])
    happen(Event.TUNNEL_CLOSED, host="web1")
    look(since=0)
    webhook.refresh_from_db()
    assert webhook.presence == {}


# Out of it


def test_one_at_a_time_and_in_order(chat):
    open_sessions("web1", "web2", "web3")
    look(since=0)
    told = []
    while orders := take():
        (order,) = orders
        told.append(json.loads(order.body)["host"])
        note(order, Outcome(200), timezone.now())
    assert told == ["web1", "web2", "web3"]
    assert set(Delivery.objects.values_list("attempts", "status", "problem")) == {(1, 200, "")}


def test_one_that_fails_holds_up_those_behind_it_and_nobody_else(chat):
    other = make_webhook(name="other")
    open_sessions("web1", "web2")
    look(since=0)
    for order in take():
        note(order, REFUSED if order.webhook == chat.pk else Outcome(200), timezone.now())
    assert [order.webhook for order in take()] == [other.pk]
    (again,) = [order for order in take(timezone.now() + timedelta(seconds=6)) if order.webhook == chat.pk]
    assert (json.loads(again.body)["host"], again.attempt) == ("web1", 2)


def test_the_busy_and_what_has_no_room_wait(chat):
    others = [make_webhook(name=f"w{number}") for number in range(3)]
    open_sessions("web1")
    look(since=0)
    assert len(take()) == 4
    assert len(take(room=2)) == 2
    assert {order.webhook for order in take(busy={chat.pk})} == {other.pk for other in others}


def test_a_disabled_webhook_is_sent_nothing(chat):
    open_sessions("web1")
    look(since=0)
    disable_webhook(webhook=chat, actor=ADMIN)
    assert take() == []


def test_back_off_and_giving_up(chat):
    now = begun = timezone.now()
    open_sessions("web1", "web2")
    look(since=0)
    pauses = []
    while (row := Delivery.objects.first()).next_attempt_at:
        (order,) = take(now := row.next_attempt_at + timedelta(seconds=1))
        note(order, REFUSED, now)
        if row := Delivery.objects.filter(next_attempt_at__isnull=False, attempts__gt=0).first():
            pauses.append(round((row.next_attempt_at - now).total_seconds()))
    assert pauses[:5] == [5, 10, 20, 40, 80]
    assert max(pauses) == 3600 and sorted(pauses[:-1]) == pauses[:-1]
    assert timedelta(hours=24) <= now - begun < timedelta(hours=24, minutes=2)
    first = Delivery.objects.first()
    assert (first.next_attempt_at, first.delivered_at, first.problem) == (None, None, "answers 500")
    (following,) = take(now)
    assert json.loads(following.body)["host"] == "web2", "the next one has its turn"


def test_the_back_off_is_bounded():
    assert retry_after(10_000) == timedelta(hours=1)


def test_a_dead_webhooks_queue_is_bounded_and_says_so(chat, monkeypatch):
    monkeypatch.setattr(queue, "MAX_WAITING", 3)
    open_sessions("h1", "h2", "h3", "h4", "h5")
    look(since=0)
    chat.refresh_from_db()
    assert (queued(chat), chat.missed) == ([f"session.opened h{number}" for number in (1, 2, 3)], 2)
    for _ in range(3):
        note(take()[0], Outcome(200), timezone.now())
    open_sessions("h6", "h7")
    look(since=0)
    chat.refresh_from_db()
    assert [json.loads(row.body)["missed"] for row in Delivery.objects.all()] == [0, 0, 0, 2, 0]
    assert chat.missed == 0


def test_what_is_over_is_dropped_but_for_the_newest(chat, monkeypatch):
    monkeypatch.setattr(queue, "KEPT", 2)
    open_sessions("h1", "h2", "h3", "h4", "h5")
    look(since=0)
    for _ in range(4):
        note(take()[0], Outcome(200), timezone.now())
    assert queued(chat) == [f"session.opened h{number}" for number in (3, 4, 5)], "h5 still waits"


def test_a_webhook_removed_while_it_is_told(chat):
    open_sessions("web1")
    look(since=0)
    (order,) = take()
    remove_webhook(webhook=chat, actor=ADMIN)
    note(order, Outcome(200), timezone.now())
    assert not Delivery.objects.exists()


# Deliver again


def test_a_given_up_one_is_tried_once_more_and_holds_up_nobody(chat):
    open_sessions("web1", "web2")
    look(since=0)
    Delivery.objects.filter(sequence=Delivery.objects.first().sequence).update(next_attempt_at=None, attempts=9)
    deliver_again(delivery=Delivery.objects.first(), actor=ADMIN)
    (order,) = take()
    assert json.loads(order.body)["host"] == "web1"
    note(order, REFUSED, timezone.now())
    assert Delivery.objects.first().next_attempt_at is None, "given up at once"
    assert json.loads(take()[0].body)["host"] == "web2"


def test_a_delivered_one_goes_out_again(chat):
    open_sessions("web1")
    look(since=0)
    note(take()[0], Outcome(200), timezone.now())
    deliver_again(delivery=Delivery.objects.get(), actor=ADMIN)
    (order,) = take()
    note(order, Outcome(204), timezone.now())
    row = Delivery.objects.get()
    assert (row.attempts, row.status, row.next_attempt_at) == (2, 204, None)
    assert row.delivered_at


def test_one_that_waits_is_tried_now_and_not_given_up_for_it(chat):
    open_sessions("web1")
    look(since=0)
    note(take()[0], REFUSED, timezone.now())
    assert take() == []
    deliver_again(delivery=Delivery.objects.get(), actor=ADMIN)
    note(take()[0], REFUSED, timezone.now())
    assert Delivery.objects.get().next_attempt_at


def test_a_test_has_the_first_in_the_queue_tried_at_once(chat):
    open_sessions("web1")
    look(since=0)
    note(take()[0], REFUSED, timezone.now())
    send_test(webhook=chat, actor=ADMIN)
    assert [json.loads(order.body)["host"] for order in take()] == ["web1"]


def test_note_of_an_unknown_delivery(chat):
    order = Order(99, uuid4(), "", True, "", "", "", 1)
    note(order, Outcome(200), timezone.now())
