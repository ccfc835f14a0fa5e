"""One broker process, from start to drain: portal, gateway and live terminals on one event loop.

Start: what an earlier run left open is closed, keys are loaded, then the doors open. Drain, on SIGTERM or SIGINT: no
new connections, terminals are told why and when to come back, tunnels are written down as closed, then requests end.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
from channels.db import database_sync_to_async
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from brokerd import health
from brokerd.conf import Address, Config
from brokerd.gateway import Gateway
from brokerd.notify import notify
from brokerd.web import WebServer
from terminals import live
from terminals.limits import Limits
from terminals.live import LiveTerminals
from terminals.sessions import end_leftovers
from terminals.ssh.desk import PeopleDesk
from terminals.ssh.held import Held
from tunnels import presence
from tunnels.agents import AgentDesk
from tunnels.changes import ChangeFeed
from tunnels.directory import Directory
from tunnels.pairing import PairingDesk
from tunnels.registry import TunnelRegistry

REQUESTS_DRAIN_S = 3
SWITCH_INTERVAL_S = 0.0005
"""How long a thread that waits for the interpreter leaves it to another. Python's own 5 ms is what a key would wait,
several times on its way, while a request or a re-check computes in its thread."""

log = structlog.get_logger(__name__)


class Node:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.name = f"node-{secrets.token_hex(6)}"
        self.lease_s = 3 * config.keepalive_s + 5
        self.registry = TunnelRegistry()
        self.directory = Directory()
        self.desk = AgentDesk(
            node=self.name,
            lease_s=self.lease_s,
            directory=self.directory,
            registry=self.registry,
            binds_ports=config.bind_tunnel_ports,
            tunnel_ports=config.tunnel_ports,
        )
        limits = Limits(grace_s=config.session_grace_s, idle_s=config.idle_timeout_s, longest_s=config.max_session_s)
        self.terminals = LiveTerminals(node=self.name, registry=self.registry, limits=limits)
        self.held = Held(node=self.name, registry=self.registry, limits=limits)
        self.people = PeopleDesk(terminals=self.terminals, held=self.held)
        self.pairing = PairingDesk(directory=self.directory, is_person=self.people.keyring.is_person)
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
            kept = await database_sync_to_async(_open_database)()
            stack.push_async_callback(database_sync_to_async(kept.close))
            await stack.enter_async_context(ChangeFeed(self._reload, self._enforce))
            gateway = Gateway(
                desk=self.desk,
                people=self.people,
                pairing=self.pairing,
                address=self.config.ssh_bind,
                keepalive_s=self.config.keepalive_s,
            )
            await stack.enter_async_context(gateway)
            await stack.enter_async_context(self.terminals)
            await stack.enter_async_context(self.held)
            address = await web.start(self.config.web_bind)
            stack.push_async_callback(web.stop_listening)
            live.install(self.terminals)
            health.watch(self._figures(gateway), gateway_ready=lambda: gateway.is_listening)
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            _calm_garbage_collection()
            log.info("broker is up", portal=str(address), gateway=str(Address(self.config.ssh_bind.host, gateway.port)))
            notify("READY=1")
            await self._beat()
            notify("STOPPING=1")
            log.info("broker is draining", terminals=len(self.terminals), tunnels=len(self.registry))
        log.info("broker has stopped")

    def _figures(self, gateway: Gateway) -> list[tuple[str, str, Callable[[], float]]]:
        loop, ports = asyncio.get_running_loop(), self.desk.ports
        return [
            ("asyncio_tasks", "Tasks of the event loop", lambda: len(asyncio.all_tasks(loop))),
            ("tunnels", "Live tunnels", lambda: len(self.registry)),
            ("sessions", "Live terminal sessions", lambda: len(self.terminals)),
            (
                "ssh_sessions",
                "Ways to hosts, commands and transfers that people have open over SSH",
                lambda: len(self.held),
            ),
            ("gateway_connections", "SSH connections at the gateway", lambda: gateway.connections),
            ("gateway_unauthenticated", "SSH connections not logged in yet", lambda: gateway.unauthenticated),
            ("gateway_pairing", "Unknown machines that wait for approval over SSH", lambda: len(self.pairing)),
            ("bound_ports", "Tunnel ports that listen on 127.0.0.1", lambda: 0 if ports is None else len(ports)),
            (
                "bound_port_connections",
                "Local connections to tunnel ports",
                lambda: 0 if ports is None else ports.connections,
            ),
        ]

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)

    async def _reload(self) -> None:
        """Whose keys open the gateway, as it is now."""
        await self.directory.reload()
        await self.people.keyring.reload()

    async def _enforce(self) -> None:
        """What that and today's grants do not allow ends."""
        self.registry.enforce(self.directory)
        self.pairing.look()
        await self.people.recheck()
        await self.terminals.recheck()
        await self.held.recheck()

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


def _open_database() -> BaseDatabaseWrapper:
    """A connection that stays. Each request has its own for a moment; with the last one SQLite would fold its log into
    the file and remove it, which the next request would pay for with several flushes to disk."""
    kept = connection.copy()
    kept.inc_thread_sharing()
    kept.ensure_connection()
    return kept


def _calm_garbage_collection() -> None:
    """What start-up made stays; without this each full collection walks Django's whole module graph.

    Keys leave no cycles behind, but requests and SSH connections do, and memory grows by what is not looked for.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 5)
