"""One broker process, from start to drain: portal, gateway and live terminals on one event loop.

Start: what an earlier run left open is closed, keys are loaded, then the doors open. Drain, on SIGTERM or SIGINT: no
new connections, terminals are told why and when to come back, tunnels are written down as closed, then requests end.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from contextlib import AsyncExitStack

import structlog
from channels.db import database_sync_to_async
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from brokerd import health, process
from brokerd.conf import Address, Config
from brokerd.entry import Entry
from brokerd.figures import Figures
from brokerd.gateway import Gateway
from brokerd.notify import notify
from brokerd.pulse import Pulse
from brokerd.web import WebServer
from terminals import live
from terminals.keys import addresses_of_people
from terminals.limits import Limits
from terminals.live import LiveTerminals
from terminals.recording.recordings import Recordings
from terminals.replay.indexer import Indexer
from terminals.sessions import end_leftovers, newest_change
from terminals.ssh import held
from terminals.ssh.desk import PeopleDesk
from terminals.ssh.held import Held
from terminals.webhooks.dispatcher import Dispatcher
from tunnels import clock, database, presence, spool
from tunnels.agents import AgentDesk
from tunnels.changes import ChangeFeed
from tunnels.database import DatabaseWatch
from tunnels.directory import Directory
from tunnels.errors import DatabaseAway
from tunnels.learning import TrustProbe
from tunnels.pairing import PairingDesk
from tunnels.registry import TunnelRegistry
from tunnels.spool import Spool
from tunnels.witness import Witness

REQUESTS_DRAIN_S = 3

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
        self.recordings = Recordings(config.recording, config.recording_retention_s)
        self.terminals = LiveTerminals(
            node=self.name, registry=self.registry, limits=limits, recordings=self.recordings
        )
        self.held = Held(node=self.name, registry=self.registry, limits=limits)
        self.people = PeopleDesk(terminals=self.terminals, held=self.held)
        self.pairing = PairingDesk(directory=self.directory, is_person=self.people.keyring.is_person)
        self.entry = Entry()
        self._stopping = asyncio.Event()

    async def run(self, application: object) -> None:
        """Serve until a signal asks to stop. ConfigError when a door cannot open."""
        self._handle_signals()
        process.prepare()
        database.never_made_anew()
        web = WebServer(application)
        async with AsyncExitStack() as stack:
            if behind := await database_sync_to_async(clock.learn)():
                log.error(
                    "the clock is behind what the database has seen; the broker goes by the latter", by=str(behind)
                )
            # First what the last run could not write, then what it left open.
            await stack.enter_async_context(Spool(self.config.data_dir / spool.NAME))
            await database_sync_to_async(presence.close_leftovers)(node=self.name)
            await database_sync_to_async(end_leftovers)(node=self.name)
            await stack.enter_async_context(DatabaseWatch())
            # Left in the opposite order: no new requests, terminals, tunnels, then the requests still running.
            stack.push_async_callback(web.close, REQUESTS_DRAIN_S)
            kept = await database_sync_to_async(_open_database)()
            stack.push_async_callback(database_sync_to_async(kept.close))
            await stack.enter_async_context(Pulse())
            await stack.enter_async_context(Witness())
            for address in await database_sync_to_async(_known_addresses)():
                self.entry.know(address, time.monotonic())
            await stack.enter_async_context(ChangeFeed(self._reload, self._enforce, marker=newest_change))
            await stack.enter_async_context(Dispatcher())
            gateway = Gateway(
                desk=self.desk,
                people=self.people,
                pairing=self.pairing,
                address=self.config.ssh_bind,
                keepalive_s=self.config.keepalive_s,
                entry=self.entry,
            )
            await stack.enter_async_context(gateway)
            await stack.enter_async_context(TrustProbe(self.registry))
            await stack.enter_async_context(Indexer())
            await stack.enter_async_context(self.recordings)
            await stack.enter_async_context(self.terminals)
            await stack.enter_async_context(self.held)
            address = await web.start(self.config.web_bind)
            stack.push_async_callback(web.stop_listening)
            live.install(self.terminals)
            held.install(self.held)
            figures = Figures(
                registry=self.registry,
                terminals=self.terminals,
                held=self.held,
                gateway=gateway,
                desk=self.desk,
                pairing=self.pairing,
            )
            health.watch(figures, gateway_ready=lambda: gateway.is_listening)
            process.settle()
            log.info("broker is up", portal=str(address), gateway=str(Address(self.config.ssh_bind.host, gateway.port)))
            notify("READY=1")
            await self._beat()
            health.drain()
            notify("STOPPING=1")
            log.info("broker is draining", terminals=len(self.terminals), tunnels=len(self.registry))
        log.info("broker has stopped")

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
        await self.terminals.recheck()
        await self.held.recheck()
        await self.people.recheck()  # last: what goes with a connection has heard its own reason by then

    async def _beat(self) -> None:
        """Renew the leases of our tunnels until we stop."""
        while not self._stopping.is_set():
            pause_s = self.config.keepalive_s
            try:
                await spool.ask(
                    presence.renew_leases, node=self.name, host_ids=self.registry.host_ids, lease_s=self.lease_s
                )
            except DatabaseAway:
                pause_s = 1  # when it is back, hosts are to be shown online at once
            except Exception:
                # The root of the node's own task: a database that is away must not end live terminals.
                log.exception("leases not renewed, trying again")
            try:
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue


def _known_addresses() -> set[str]:
    """From where agents and people have logged in lately: after a restart all come back at once."""
    return {*presence.addresses(), *addresses_of_people()}


def _open_database() -> BaseDatabaseWrapper:
    """A connection that stays. Each request has its own for a moment; with the last one SQLite would fold its log into
    the file and remove it, which the next request would pay for with several flushes to disk."""
    kept = connection.copy()
    kept.inc_thread_sharing()
    kept.ensure_connection()
    return kept
