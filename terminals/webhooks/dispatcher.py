"""Tells the receivers: writes down what has happened at each change, and sends what is due. Nothing waits for it."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.utils import timezone

from terminals.webhooks import queue
from terminals.webhooks.sending import TIMEOUT_S, Order, Outcome, Sender
from tunnels.changes import ChangeFeed

MAX_IN_FLIGHT = 16

log = structlog.get_logger(__name__)


class Dispatcher:
    """`async with` it. On leaving, what is on its way is cut off; it is sent again at the next start.

    At most `MAX_IN_FLIGHT` at once and one of each webhook, so that their order holds and a dead one holds up no other.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._sender = Sender(timeout_s)
        self._feed = ChangeFeed(self._look)
        self._wake = asyncio.Event()
        self._busy: set[UUID] = set()

    async def __aenter__(self) -> Dispatcher:
        self._since = time.time()
        await self._sender.__aenter__()
        await self._feed.__aenter__()
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._feed.__aexit__()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._sender.__aexit__()

    async def _look(self) -> None:
        """At each change and every few seconds, which is often enough for second attempts too."""
        try:
            await database_sync_to_async(queue.look)(since=self._since)
        except Exception:
            # Its own root: a broker must start and go on, whatever there is in the way of telling others.
            log.exception("webhooks: what has happened was not written down, trying again")
        self._wake.set()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for order in await self._due():
                    self._busy.add(order.webhook)
                    group.create_task(self._deliver(order))

    async def _due(self) -> list[Order]:
        ask = partial(queue.due, timezone.now(), busy=frozenset(self._busy), room=MAX_IN_FLIGHT - len(self._busy))
        try:
            orders: list[Order] = await database_sync_to_async(ask)()
            return orders
        except Exception:
            # The root of the sending task: a database that is away for a moment must not end it.
            log.exception("webhooks: nothing sent, trying again")
            return []

    async def _deliver(self, order: Order) -> None:
        """The root of one attempt's task: whatever happens, it is written down and the next one has its turn."""
        try:
            outcome = await self._sender.send(order)
        except Exception:
            log.exception("webhook failed", webhook=str(order.webhook), told=order.event)
            outcome = Outcome(None, "the broker failed; its log says why")
        try:
            await database_sync_to_async(queue.note)(order, outcome, timezone.now())
        except Exception:
            # It stays due, and is sent again at the next look.
            log.exception("webhook not written down", webhook=str(order.webhook), told=order.event)
        else:
            self._wake.set()
        self._busy.discard(order.webhook)
