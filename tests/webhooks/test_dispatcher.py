"""The whole way: something is put on record, and a real receiver on loopback is told, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from terminals.models import Delivery, Webhook
from terminals.webhooks import damping, dispatcher, queue
from terminals.webhooks.acts import send_test
from terminals.webhooks.dispatcher import Dispatcher
from terminals.webhooks.secret import secret_of
from terminals.webhooks.signing import sign
from tests.core.agent import in_database
from tests.core.waiting import until
from tests.webhooks.helpers import ADMIN, happen, make_webhook, open_sessions
from tests.webhooks.receiver import Flood, Receiver, hang, hang_up, late, receiver, status
from tunnels import changes
from tunnels.audit import Event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Second attempts at once, and looks that do not keep a test waiting."""
    monkeypatch.setattr(changes, "POLL_S", 0.05)
    monkeypatch.setattr(changes, "REGULAR_S", 0.05)
    monkeypatch.setattr(queue, "FIRST_RETRY_S", 0.01)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


async def hook(there: Receiver, **facts: Any) -> Webhook:
    webhook: Webhook = await in_database(partial(make_webhook, there.url, **facts))()
    return webhook


async def opened(*hosts: str) -> None:
    await in_database(open_sessions)(*hosts)


def told(there: Receiver) -> list[str]:
    return [json.loads(message.body)["host"] for message in there.messages]


def taken(there: Receiver) -> list[str]:
    """What was told, without repetitions."""
    return list(dict.fromkeys(told(there)))


async def rows(**wanted: Any) -> int:
    count: int = await in_database(Delivery.objects.filter(**wanted).count)()
    return count


async def settled(check: Callable[[], Any]) -> Any:
    """Wait for a check that asks the database."""
    async with asyncio.timeout(60):
        while not (answer := await in_database(check)()):
            await asyncio.sleep(0.02)
    return answer


async def test_deliveries_may_end_while_the_next_ones_are_looked_for(there, monkeypatch, caplog):
    """The database is asked in a thread of its own."""
    due, asked = queue.due, []

    def slowly(now: Any, *, busy: Any, room: int) -> Any:
        for _ in busy:
            if not asked:
                sender._busy.add(uuid4())
        asked.append(room)
        return due(now, busy=busy, room=room)

    monkeypatch.setattr(queue, "due", slowly)
    await hook(there)
    async with Dispatcher() as sender:
        sender._busy.add(uuid4())
        await opened("web1")
        await until(lambda: told(there) == ["web1"])
    assert asked and "nothing sent" not in caplog.text


async def test_told_at_once_and_signed(there):
    webhook = await hook(there)
    async with Dispatcher():
        await opened("web1")
        await until(lambda: there.messages)
        await settled(Delivery.objects.filter(delivered_at__isnull=False).exists)
    (message,) = there.messages
    at = int(message.headers["brokerd-signature"].partition(",")[0].removeprefix("t="))
    assert message.headers["brokerd-signature"] == sign(secret_of(webhook), message.body, at)
    assert abs(time.time() - at) < 30


async def test_many_in_order(there):
    await hook(there)
    names = [f"h{number}" for number in range(30)]
    async with Dispatcher():
        for name in names:
            await opened(name)
        await until(lambda: len(there.messages) == 30)
    assert told(there) == names


async def test_refusals_are_tried_again_and_the_order_holds(there):
    await hook(there)
    there.answers = [status(500), hang_up, status(302, Location="/"), status(204), status(503)]
    async with Dispatcher():
        await opened("web1", "web2", "web3")
        await until(lambda: len(there.messages) == 7)
        await asyncio.sleep(0.2)
    assert told(there) == ["web1"] * 4 + ["web2"] * 2 + ["web3"]
    attempts = [message.headers["brokerd-attempt"] for message in there.messages]
    assert attempts == ["1", "2", "3", "4", "1", "2", "1"]
    ids = {json.loads(message.body)["id"] for message in there.messages}
    assert len(ids) == 3, "the same at each attempt"


async def test_an_answer_that_comes_too_late_counts_as_none(there):
    await hook(there)
    there.answers = [late(4)]
    async with Dispatcher(timeout_s=2):
        await opened("web1")
        await until(lambda: len(there.messages) == 2)
        await settled(Delivery.objects.filter(delivered_at__isnull=False, attempts=2).exists)


async def test_dead_receivers_hold_up_nobody(there, monkeypatch):
    """More of them than may be in flight at once; each hangs for as long as it can."""
    monkeypatch.setattr(dispatcher, "MAX_IN_FLIGHT", 4)
    monkeypatch.setattr(queue, "FIRST_RETRY_S", 600)
    async with receiver(answer=hang) as dead:
        for number in range(6):
            await hook(dead, name=f"dead{number}")
        await hook(there)
        async with Dispatcher(timeout_s=2):
            await opened("web1")
            await until(lambda: told(there) == ["web1"])
            await opened("web2", "web3")
            await until(lambda: told(there) == ["web1", "web2", "web3"])
            assert len(dead.messages) <= 6, "the dead are in their back-off"


async def test_no_more_than_so_many_are_in_flight(monkeypatch):
    monkeypatch.setattr(dispatcher, "MAX_IN_FLIGHT", 3)
    async with receiver(answer=hang) as dead:
        for number in range(8):
            await hook(dead, name=f"dead{number}")
        async with Dispatcher(timeout_s=30):
            await opened("web1", "web2")
            await until(lambda: len(dead.messages) == 3)
            await asyncio.sleep(0.3)
            assert len(dead.messages) == 3


async def test_one_at_a_time_for_each_webhook(there):
    await hook(there)
    there.answer = hang
    async with Dispatcher(timeout_s=30):
        await opened("web1", "web2", "web3")
        await until(lambda: there.messages)
        await asyncio.sleep(0.3)
        assert told(there) == ["web1"]


async def test_a_flood_for_an_answer(there):
    await hook(there)
    flood = Flood(200)
    there.answers = [flood]
    async with Dispatcher():
        await opened("web1", "web2")
        await until(lambda: taken(there) == ["web1", "web2"])
    assert flood.written < 20_000_000


async def test_a_restart_forgets_nothing(there):
    """Stopped in the middle of an attempt, while more happens, and started again: at least once, in order."""
    await hook(there)
    there.answer = hang
    async with Dispatcher():
        await opened("web1", "web2")
        await until(lambda: there.messages)
    await opened("web3")
    there.answer = status(204)
    async with Dispatcher():
        await until(lambda: taken(there) == ["web1", "web2", "web3"])
        await settled(lambda: Delivery.objects.filter(delivered_at__isnull=False).count() == 3)
    assert told(there) == ["web1", "web1", "web2", "web3"]
    async with Dispatcher():
        await asyncio.sleep(0.3)
    assert len(there.messages) == 4, "and repeats nothing that was taken"


async def test_stopping_does_not_wait_for_a_receiver(there):
    await hook(there)
    there.answer = hang
    async with Dispatcher(timeout_s=60):
        await opened("web1")
        await until(lambda: there.messages)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


async def test_a_host_that_goes_and_comes(there, monkeypatch):
    monkeypatch.setattr(damping, "SETTLE_S", 1)

    @transaction.atomic
    def blip() -> None:
        happen(Event.TUNNEL_CLOSED, host="blip", reason="replaced")
        happen(Event.TUNNEL_OPENED, host="blip")

    await hook(there, events=["host.online", "host.offline"])
    async with Dispatcher():
        for _ in range(3):
            await in_database(blip)()
        await in_database(partial(happen, Event.TUNNEL_CLOSED, host="gone", reason="no sign of life"))()
        await until(lambda: there.messages)
        await in_database(partial(happen, Event.TUNNEL_OPENED, host="gone"))()
        await until(lambda: len(there.messages) == 2)
        await asyncio.sleep(0.3)
    assert [json.loads(message.body)["event"] for message in there.messages] == ["host.offline", "host.online"]
    assert told(there) == ["gone", "gone"]


async def test_given_up_after_a_day_and_the_next_has_its_turn(there):
    await hook(there)
    there.answers = [status(500)]
    await opened("web1", "web2")
    await in_database(queue.look)(since=0)
    first = await in_database(Delivery.objects.first)()
    await in_database(Delivery.objects.filter(pk=first.pk).update)(give_up_at=timezone.now() - timedelta(seconds=1))
    async with Dispatcher():
        await until(lambda: told(there) == ["web1", "web2"])
        await settled(Delivery.objects.filter(pk=first.pk, next_attempt_at=None, delivered_at=None).exists)


async def test_a_webhook_that_is_made_while_it_runs(there):
    async with Dispatcher():
        await opened("web1")
        webhook = await hook(there)
        await in_database(partial(send_test, webhook=webhook, actor=ADMIN))()
        await until(lambda: there.messages)
        await opened("web2")
        await until(lambda: len(there.messages) == 2)
    assert [message.headers["brokerd-event"] for message in there.messages] == ["webhook.test", "session.opened"]


async def test_an_error_of_ours_ends_neither_broker_nor_webhooks(there, monkeypatch):
    await hook(there)
    look, send, note = queue.look, dispatcher.Sender.send, queue.note
    fails = {"look": 2, "send": 2, "note": 2, "due": 2}

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*args: Any, **kwargs: Any) -> Any:
            if fails[name]:
                fails[name] -= 1
                raise RuntimeError(f"{name} is broken")
            return real(*args, **kwargs)

        return fail

    monkeypatch.setattr(queue, "look", failing("look", look))
    monkeypatch.setattr(queue, "due", failing("due", queue.due))
    monkeypatch.setattr(queue, "note", failing("note", note))
    monkeypatch.setattr(dispatcher.Sender, "send", failing("send", send))
    async with Dispatcher():
        await opened("web1", "web2")
        await until(lambda: taken(there) == ["web1", "web2"])
        await settled(lambda: Delivery.objects.filter(delivered_at__isnull=False).count() == 2)
    assert fails == {"look": 0, "send": 0, "note": 0, "due": 0}


async def test_without_webhooks_nothing_is_kept():
    async with Dispatcher():
        await opened("web1")
        await asyncio.sleep(0.2)
        assert await rows() == 0
