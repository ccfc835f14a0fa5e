"""The agent from start to stop: enroll, hold the tunnel, try again, for ever, until it is told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn
from urllib.parse import urlsplit

import asyncssh

from tunnels.agent import screen
from tunnels.agent.account import Account
from tunnels.agent.approval import Approval, EnrollmentRefused
from tunnels.agent.backoff import Pace, delay_s, in_words, spread
from tunnels.agent.config import Config, Orders
from tunnels.agent.enrollment import public_line, request_body
from tunnels.agent.forward import Forward, NoServer, ask_host_keys
from tunnels.agent.keylist import BadList, KeyList, read_list
from tunnels.agent.portal import Portal, is_loopback
from tunnels.agent.say import Say, once
from tunnels.agent.session import Sessions
from tunnels.agent.share import Share
from tunnels.agent.shell import BrokersGuard, Guard, ListGuard, LoginShell
from tunnels.agent.stage import open_to_shares
from tunnels.agent.state import Broker, InUse, State, StateError
from tunnels.agent.tunnel import Ending, Service, hold_tunnel

logger = logging.getLogger(__name__)

MAX_SESSIONS = 20


class Agent:
    """One agent with one state directory. `run` returns only by exception."""

    def __init__(
        self, config: Config, state: State, account: Account, *, pace: Pace, say: Say, shared_only: bool
    ) -> None:
        self._config = config
        self._state = state
        self._account = account
        self._pace = pace
        self._say = say
        self._warn = once(say)
        self._sessions = Sessions(account, limit=MAX_SESSIONS, hangup_s=pace.hangup, shared_only=shared_only)
        self._sessions.stage.read_only = config.read_only
        self._approval = Approval(Portal(config.broker), state, self._request_body, pace=pace, say=say)
        self._failures = 0

    async def run(self) -> NoReturn:
        """Cancelling closes the tunnel and ends all sessions, within seconds. Raises EnrollmentRefused, StateError."""
        if self._config.forward:
            await self._keep()
        async with open_to_shares(self._sessions.stage, self._state.folder, self._say):
            await self._keep()

    async def _keep(self) -> NoReturn:
        broker = self._known_broker()
        try:
            while True:
                if broker is None:
                    broker = await self._approval.obtain()
                ending = await self._hold(broker)
                if ending.ask_portal:
                    self._approval.forget(self._current(broker))
                await self._wait_after(ending)
                broker = None if ending.ask_portal else self._current(broker)
        finally:
            await self._sessions.end()

    def _known_broker(self) -> Broker | None:
        """The enrollment of an earlier start, if it was approved: then the tunnel needs no portal at all.

        Not so where the URL is another one: the broker has moved, or it is not the same, which its answer tells.
        """
        broker = self._state.broker()
        return broker if broker and broker.state == "approved" and broker.url == self._config.broker else None

    async def _hold(self, broker: Broker) -> Ending:
        def on_up() -> None:
            self._state.note("up", broker.name)
            self._say(f"tunnel up as {broker.name} (tunnel port {broker.tunnel_port})")

        service = self._service(broker)
        async with asyncio.TaskGroup() as group:
            current = group.create_task(self._approval.keep_current())
            ending = await hold_tunnel(
                broker, self._state.key(), service, pace=self._pace, on_up=on_up, on_keys=partial(self._learn, broker)
            )
            current.cancel()
        return ending

    def _learn(self, broker: Broker, gateway_keys: list[str]) -> None:
        """By what the gateway is known from now on; it has proved it."""
        known = self._current(broker)
        gateway = dataclasses.replace(known.gateway, host_keys=tuple(gateway_keys))
        try:
            self._state.save_broker(dataclasses.replace(known, gateway=gateway))
        except StateError as error:
            self._say(f"the gateway's host keys have changed, and cannot be written down: {error}")
        else:
            shown = (asyncssh.import_public_key(line).get_fingerprint() for line in gateway_keys)
            self._say(f"from now on the gateway is known by {' and '.join(shown)}")

    def _current(self, broker: Broker) -> Broker:
        """What is known of the broker now; what was known, where the file cannot be read any more."""
        try:
            return self._state.broker() or broker
        except StateError as error:
            self._warn(str(error))
            return broker

    def _service(self, broker: Broker) -> Service:
        if self._config.forward:
            return Forward(self._config.forward)
        return LoginShell(self._state.host_key(), self._guard(broker), self._sessions)

    def _guard(self, broker: Broker) -> Guard:
        login, path = self._account.login, self._config.authorized_keys
        if path is None:
            return BrokersGuard(lambda: self._current(broker).authorities, login)
        return ListGuard(KeyList(path, login, broker.ca_public_key, self._warn))

    async def _wait_after(self, ending: Ending) -> None:
        if ending.lived_s > self._pace.settled:
            self._failures = 0
        delay = delay_s(self._failures, random.random(), self._pace, ending.retry_after_s)  # noqa: S311 -- spreads load
        self._failures += 1
        self._state.note("down", ending.reason)
        what = "tunnel lost" if ending.lived_s else "no tunnel"
        self._say(f"{what}: {ending.reason}, trying again in {in_words(delay)}")
        await asyncio.sleep(delay)

    async def _request_body(self) -> dict[str, Any]:
        return request_body(
            name=self._config.name,
            public_key=_line(self._state.key()),
            host_keys=await self._host_keys(),
            login=self._account.login,
            token=self._config.token,
        )

    async def _host_keys(self) -> list[str]:
        """What hosts are known by: our own server's key, or those of the sshd, waiting until it answers."""
        if self._config.forward is None:
            return [_line(self._state.host_key())]
        failures = 0
        while True:
            try:
                return await ask_host_keys(self._config.forward)
            except NoServer as error:
                delay = delay_s(failures, random.random(), self._pace)  # noqa: S311 -- spreads load, no secret
                if failures == 0:
                    self._say(f"{error}; start it, or use --login-shell; trying again in {in_words(delay)}")
                failures += 1
                await asyncio.sleep(delay)


def _line(key: Any) -> str:
    return public_line(key.export_public_key("openssh").decode("ascii"))


CANNOT_GO_ON = (EnrollmentRefused, StateError, BadList)


def why(error: BaseException) -> str:
    return f"enrollment refused: {error}" if isinstance(error, EnrollmentRefused) else str(error)


async def run_agents(orders: Orders, account: Account, *, say: Say, pace: Pace | None = None) -> None:
    """Runs them until SIGTERM or SIGINT, then returns. Raises one of CANNOT_GO_ON when the last of them cannot."""
    await _until_stopped(_all(orders, account, pace or Pace(), say), say)


async def _all(orders: Orders, account: Account, pace: Pace, say: Say) -> None:
    if len(orders.agents) == 1:
        await _one(orders, orders.agents[0], account, pace, say)
    async with asyncio.TaskGroup() as group:
        failures = [group.create_task(_one_of_many(orders, config, account, pace, say)) for config in orders.agents]
    raise failures[-1].result()


async def _one_of_many(orders: Orders, config: Config, account: Account, pace: Pace, say: Say) -> BaseException:
    """Why it cannot go on, which is no reason for the others not to."""
    try:
        await _one(orders, config, account, pace, lambda line: say(f"[{config.section}] {line}"))
    except Exception as error:  # this agent's root
        if not isinstance(error, CANNOT_GO_ON):
            logger.exception("[%s] the agent failed", config.section)
        say(f"[{config.section}] {why(error) or type(error).__name__}")
        return error


async def _one(orders: Orders, config: Config, account: Account, pace: Pace, say: Say) -> NoReturn:
    while True:
        try:
            await _serve(config, account, pace, say)
        except Exception as error:  # the agent's root: with -F nothing but a signal ends it
            if not orders.never_die:
                raise
            if not isinstance(error, CANNOT_GO_ON):
                logger.exception("the agent failed")
            delay = spread(pace.dormant, random.random())  # noqa: S311 -- spreads load, no secret
            say(f"{why(error) or type(error).__name__}; trying again in {in_words(delay)}")
            await asyncio.sleep(delay)


async def _serve(config: Config, account: Account, pace: Pace, say: Say, *, shared_only: bool = False) -> NoReturn:
    with State(config.state) as state:
        url = urlsplit(config.broker)
        if url.scheme != "https" and not is_loopback(url.hostname or ""):
            say("warning: the broker's URL is not https: whoever sits in between can pose as the broker")
        if config.authorized_keys is not None:
            read_list(config.authorized_keys)
            say(f"only people with a key in {config.authorized_keys} get in, end to end (ssh -J)")
        only = shared_only or config.read_only
        await Agent(config, state, account, pace=pace, say=say, shared_only=only).run()


async def share_terminal(config: Config, account: Account, *, pace: Pace | None = None) -> int:
    """A terminal that others may join, through the agent that runs, else through one of its own. The shell's status.

    One of its own serves this terminal and nothing else. Cancelling it ends both.
    """
    pace = pace or Pace()
    with screen.raw():
        share = Share(account, config.state, read_only=config.read_only, hangup_s=pace.hangup)
        async with asyncio.TaskGroup() as group:
            agent = group.create_task(_serve_if_nobody_does(config, account, pace))
            try:
                return await share.run()
            finally:
                agent.cancel()


async def _serve_if_nobody_does(config: Config, account: Account, pace: Pace) -> None:
    try:
        await _serve(config, account, pace, screen.notice, shared_only=True)
    except InUse:
        return  # that one lets the joiners in
    except CANNOT_GO_ON as error:
        screen.notice(why(error))


async def _until_stopped(running: Coroutine[Any, Any, None], say: Say) -> None:
    task = asyncio.create_task(running)
    told_to_stop = False

    def stop() -> None:
        nonlocal told_to_stop
        told_to_stop = True
        task.cancel()

    with stopping_signals(stop):
        try:
            await task
        except asyncio.CancelledError:
            if not told_to_stop:
                raise
            say("stopped")


@contextmanager
def stopping_signals(stop: Callable[[], None]) -> Iterator[None]:
    """A signal that was ignored when we were started stays ignored: `nohup`, and ^C for background jobs, rely on it."""
    loop = asyncio.get_running_loop()
    numbers = [number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if not _is_ignored(number)]
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN
