"""One broker process, from start to drain: portal, gateway and live terminals on one event loop.

Start: what an earlier run left open is closed, keys are loaded, then the doors open. Drain, on SIGTERM or SIGINT: no
new connections, terminals are told why and when to come back, tunnels are written down as closed, then requests end.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
from channels.db import database_sync_to_async

from brokerd import health
from brokerd.conf import Address, Config
from brokerd.gateway import Gateway
from brokerd.notify import notify
from brokerd.web import WebServer
from terminals import live
from terminals.live import Limits, LiveTerminals
from terminals.sessions import end_leftovers
from tunnels import presence
from tunnels.agents import AgentDesk
from tunnels.changes import ChangeFeed
from tunnels.directory import Directory
from tunnels.registry import TunnelRegistry

REQUESTS_DRAIN_S = 3

log = structlog.get_logger(__name__)


class Node:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.name = f"node-{secrets.token_hex(6)}"
        self.lease_s = 3 * config.keepalive_s + 5
        self.registry = TunnelRegistry()
        self.directory = Directory()
        self.desk = AgentDesk(node=self.name, lease_s=self.lease_s, directory=self.directory, registry=self.registry)
        limits = Limits(grace_s=config.session_grace_s, idle_s=config.idle_timeout_s, longest_s=config.max_session_s)
        self.terminals = LiveTerminals(node=self.name, registry=self.registry, limits=limits)
        self._stopping = asyncio.Event()

    async def run(self, application: object) -> None:
        """Serve until a signal asks to stop. ConfigError when a door cannot open."""
        self._handle_signals()
        await database_sync_to_async(presence.close_leftovers)(node=self.name)
        await database_sync_to_async(end_leftovers)(node=self.name)
        web = WebServer(application)
        async with AsyncExitStack() as stack:
            # Left in the opposite order: no new requests, terminals, tunnels, then the requests still running.
            stack.push_async_callback(web.close, REQUESTS_DRAIN_S)
            await stack.enter_async_context(ChangeFeed(self.directory.reload, self._enforce, self.terminals.recheck))
            gateway = Gateway(desk=self.desk, address=self.config.ssh_bind, keepalive_s=self.config.keepalive_s)
            await stack.enter_async_context(gateway)
            await stack.enter_async_context(self.terminals)
            address = await web.start(self.config.web_bind)
            stack.push_async_callback(web.stop_listening)
            live.install(self.terminals)
            health.watch(self._figures(gateway), gateway_ready=lambda: gateway.is_listening)
            _calm_garbage_collection()
            log.info("broker is up", portal=str(address), gateway=str(Address(self.config.ssh_bind.host, gateway.port)))
            notify("READY=1")
            await self._beat()
            notify("STOPPING=1")
            log.info("broker is draining", terminals=len(self.terminals), tunnels=len(self.registry))
        log.info("broker has stopped")

    def _figures(self, gateway: Gateway) -> list[tuple[str, str, Callable[[], float]]]:
        return [
            ("tunnels", "Live tunnels", lambda: len(self.registry)),
            ("sessions", "Live terminal sessions", lambda: len(self.terminals)),
            ("gateway_connections", "SSH connections at the gateway", lambda: gateway.connections),
            ("gateway_unauthenticated", "SSH connections not logged in yet", lambda: gateway.unauthenticated),
        ]

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)

    async def _enforce(self) -> None:
        self.registry.enforce(self.directory)

    async def _beat(self) -> None:
        """Renew the leases of our tunnels until we stop."""
        while not self._stopping.is_set():
            try:
                await database_sync_to_async(presence.renew_leases)(
                    node=self.name, host_ids=self.registry.host_ids, lease_s=self.lease_s
                )
            except Exception:
                # The root of the node's own task: a database that is away must not end live terminals.
                log.exception("leases not renewed, trying again")
            try:
                async with asyncio.timeout(self.config.keepalive_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue


def _calm_garbage_collection() -> None:
    """What start-up made stays; without this each full collection walks Django's whole module graph."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
