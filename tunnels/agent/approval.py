"""Enrolls this machine and waits for as long as it takes until an admin approves it. Knows HTTP, no SSH connections."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import quote

from tunnels.agent.backoff import Pace, delay_s, in_words, spread
from tunnels.agent.enrollment import Answer, BadAnswer, parse_answer, pin
from tunnels.agent.portal import Portal, Reply, Unreachable
from tunnels.agent.say import Say
from tunnels.agent.state import Broker, State, StateError

logger = logging.getLogger(__name__)
MakeBody = Callable[[], Awaitable[dict[str, Any]]]


class EnrollmentRefused(Exception):
    """The portal does not take this machine, and waiting will not change it; the message is the portal's reason."""


class Approval:
    """This machine's enrollment at one portal. `make_body` gives the body of the request, host keys included."""

    def __init__(self, portal: Portal, state: State, make_body: MakeBody, *, pace: Pace, say: Say) -> None:
        self._portal = portal
        self._state = state
        self._make_body = make_body
        self._pace = pace
        self._say = say
        self._poll_token: str | None = None
        self._failures = 0
        self._told: tuple[str, str] | None = None
        """The last enrollment and state that the person was told about."""

    async def obtain(self) -> Broker:
        """The approved enrollment. Cancelling is safe at any time. EnrollmentRefused when waiting cannot help."""
        while True:
            answer = await self._enroll() if self._poll_token is None else await self._look()
            if answer is None:
                continue
            broker = self._remember(answer)
            if answer.state == "approved":
                self._told = None
                return broker
            self._tell(answer)
            await self._pause(self._pace.poll if answer.state == "pending" else self._pace.dormant)

    async def keep_current(self) -> NoReturn:
        """While the tunnel is up: follow what the portal says about keys that are to be replaced. Never fails."""
        wait_s = self._pace.first_refresh
        while True:
            await self._pause(wait_s)
            wait_s = self._pace.refresh
            try:
                reply = await self._portal.post("/api/v1/enrollments", await self._make_body())
                answer = parse_answer(reply.body)
                if answer.state == "approved":
                    self._remember(answer)
            except Exception as error:  # the root of its task: the tunnel goes on without
                logger.debug("the portal could not be followed: %s", error)
                wait_s = self._pace.first_refresh * 5

    async def _enroll(self) -> Answer | None:
        reply = await self._ask(self._portal.post("/api/v1/enrollments", await self._make_body()))
        if reply is None:
            return None
        if reply.status not in (200, 201):
            await self._refused(reply)
            return None
        answer = await self._understood(reply)
        token = reply.body.get("poll_token")
        self._poll_token = token if answer and isinstance(token, str) and token.isascii() else None
        return answer

    async def _look(self) -> Answer | None:
        broker, token = self._state.broker(), self._poll_token
        if broker is None or token is None:  # somebody emptied the state directory under us
            self._poll_token = None
            return None
        reply = await self._ask(self._portal.get(f"/api/v1/enrollments/{quote(broker.id, safe='')}", token))
        if reply is None:
            return None
        if reply.status in (401, 404):
            self._poll_token = None
            await self._pause(self._pace.poll)
            return None
        return await self._understood(reply)

    async def _ask(self, request: Awaitable[Reply]) -> Reply | None:
        """The reply; None, after a pause, when there was none or the portal asked for patience."""
        try:
            reply = await request
        except Unreachable as error:
            await self._failed(str(error))
            return None
        if reply.is_passing:
            await self._failed(f"the portal is not ready: {reply.detail}", reply.retry_after_s)
            return None
        return reply

    async def _understood(self, reply: Reply) -> Answer | None:
        try:
            answer = parse_answer(reply.body)
        except BadAnswer as error:
            await self._failed(str(error) if reply.status < 300 else reply.detail, reply.retry_after_s)
            return None
        if self._failures:
            self._say("the portal answers again")
        self._failures = 0
        return answer

    async def _refused(self, reply: Reply) -> None:
        """A machine that once was approved does not give up, for it may be out of anybody's reach; a new one does."""
        known = self._state.broker()
        if known is None or known.state == "pending":
            raise EnrollmentRefused(reply.detail)
        self._say(f"enrollment refused: {reply.detail}; asking again every {in_words(self._pace.dormant)}")
        await self._pause(self._pace.dormant)

    async def _failed(self, reason: str, hint_s: float | None = None) -> None:
        delay = delay_s(self._failures, random.random(), self._pace, hint_s)  # noqa: S311 -- spreads load, no secret
        if self._failures == 0:
            self._say(f"{reason}, trying again in {in_words(delay)}")
        self._failures += 1
        await asyncio.sleep(delay)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(spread(seconds, random.random()))  # noqa: S311 -- spreads load, no secret

    def _remember(self, answer: Answer) -> Broker:
        known = self._state.broker()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        broker, warning = pin(known, answer, url=self._portal.url, now=now)
        if warning and known and known.url != self._portal.url:
            folder = self._state.folder
            raise StateError(f"{folder} belongs to the broker {known.url}; for another broker give another --state")
        if warning and self._told != (answer.id, answer.state):
            self._say(warning)
        if broker != known:
            self._state.save_broker(broker)
        return broker

    def _tell(self, answer: Answer) -> None:
        if self._told == (answer.id, answer.state):
            return
        self._told = (answer.id, answer.state)
        if answer.state == "pending":
            self._say(f"enrolled as {answer.name} at {self._portal.url}, waiting for approval")
            self._say(f"fingerprint   {answer.fingerprint}")
            self._say(f"pairing code  {answer.code}")
            self._say(f"next: an admin compares both and approves it at {self._portal.url}/approvals/")
        else:
            again = f"looking again every {in_words(self._pace.dormant)}"
            self._say(f"enrollment of {answer.name} was {answer.state} by an admin, {again}")

    def forget(self, broker: Broker) -> None:
        """The gateway did not let us in as `broker`: do not trust the stored approval at the next start."""
        self._state.save_broker(dataclasses.replace(broker, state="unknown"))
