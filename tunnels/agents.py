"""The agents' side of the gateway: a connection whose key belongs to a host gets one remote forward, and nothing else.

No TCP port is opened: the forward is granted with a private listener, and terminals reach the host over the agent's
own connection (`registry.LiveTunnel`). AsyncSSH closes the whole connection on an exception in one of its callbacks,
so each entry here has its own root handler.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncssh
import structlog
from channels.db import database_sync_to_async

from tunnels import presence
from tunnels.directory import Directory, KnownHost
from tunnels.errors import Refused
from tunnels.registry import LiveTunnel, TunnelRegistry
from tunnels.rules import refuse_agent, refuse_listen

REPEAT_S = 600
"""The same refusal of the same host is audited once in this time, seconds: agents try again for ever."""
MAX_REFUSALS = 20
"""Different refusals of one host that are audited in this time: an agent may ask for whatever it likes."""

log = structlog.get_logger(__name__)


class PrivateListener(asyncssh.SSHListener):
    """Stands for a granted remote forward towards AsyncSSH; nothing listens anywhere."""

    def __init__(self, tunnel: LiveTunnel, port: int) -> None:
        super().__init__()
        self._live = tunnel
        self._port = port

    def get_port(self) -> int:
        return self._port

    def close(self) -> None:
        # AsyncSSH also closes listeners when the connection is lost, just before it says why: that reason comes first.
        asyncio.get_running_loop().call_soon(self._live.over, "the agent took its forward back")

    async def wait_closed(self) -> None:
        await asyncio.wait([self._live.closed])


class AgentDesk:
    """What all agent connections of this node share."""

    def __init__(self, *, node: str, lease_s: int, directory: Directory, registry: TunnelRegistry) -> None:
        self.node = node
        self.lease_s = lease_s
        self.directory = directory
        self.registry = registry
        self._refusals: dict[UUID, dict[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def welcome(self, connection: asyncssh.SSHServerConnection, known: KnownHost) -> AgentConnection:
        """The connection's handler, after its key proved to be this host's. It turns away whom we do not want."""
        agent = AgentConnection(self, connection, known.id)
        self.own(agent.judge(known))
        return agent

    def refuse(self, known: KnownHost, address: str, reason: str) -> None:
        """Put a refusal on record, unless the same one is there already."""
        now = time.monotonic()
        told = {text: at for text, at in self._refusals.get(known.id, {}).items() if now - at < REPEAT_S}
        self._refusals[known.id] = told
        if reason not in told and len(told) < MAX_REFUSALS:
            told[reason] = now
            self.own(self._note(known.facts.name, address, reason))

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note(self, host: str, address: str, reason: str) -> None:
        try:
            await database_sync_to_async(presence.note_refusal)(host=host, address=address, reason=reason)
        except Exception:
            log.exception("refusal not recorded", host=host, reason=reason)

    async def close(self) -> None:
        """Close all tunnels and wait, at most 5 s, until each is written down as closed."""
        self.registry.close_all("the broker is stopping, retry after 5 s")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)


@dataclass(eq=False)
class AgentConnection:
    """One authenticated agent. The gateway forwards AsyncSSH's callbacks to it."""

    desk: AgentDesk
    connection: asyncssh.SSHServerConnection
    host_id: UUID

    def __post_init__(self) -> None:
        self.address = str((self.connection.get_extra_info("peername") or ("::",))[0])
        self._tunnel: LiveTunnel | None = None
        self._lost: str | None = None
        self._judged = asyncio.Event()

    async def judge(self, known: KnownHost) -> None:
        """Turn the agent away where its host is not approved. The database has the last word: who was just approved
        by a command, and dials at once, is a moment ahead of the directory."""
        try:
            if self._refusal():
                await self.desk.directory.refresh(self.host_id)
            if (refusal := self._refusal()) and self._lost is None:
                self.desk.refuse(known, self.address, refusal)
                self.connection.disconnect(asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT, refusal)
        except Exception:
            log.exception("agent could not be judged", host=known.facts.name)
            self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, "internal error, retry after 30 s")
        finally:
            self._judged.set()

    def _refusal(self) -> str | None:
        current = self.desk.directory.by_id(self.host_id)
        return refuse_agent(current.facts) if current else "this host was removed"

    async def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener | bool:
        """Grant the host's own remote forward (`tcpip-forward`, RFC 4254 section 7.1), refuse all others."""
        await self._judged.wait()
        known = self.desk.directory.by_id(self.host_id)
        if known is None or self._refusal():
            return False
        refusal = refuse_listen(known.facts, host=listen_host, port=listen_port, held=self._tunnel is not None)
        if refusal:
            return self._refuse(known, refusal)
        client = str(self.connection.get_extra_info("client_version") or "")
        port = known.facts.tunnel_port
        tunnel = self._tunnel = LiveTunnel(
            self.host_id, self.connection, listen_host, listen_port or port, self.address, client
        )
        opened: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.desk.own(self._hold(tunnel, opened))
        if refusal := await opened:
            return self._refuse(known, refusal)
        return PrivateListener(tunnel, port) if self._lost is None else False

    def _refuse(self, known: KnownHost, reason: str) -> bool:
        self.desk.refuse(known, self.address, reason)
        self.connection.send_debug(reason, always_display=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = describe_loss(exc)
        if self._tunnel:
            self._tunnel.over(self._lost)

    def cut(self, reason: str) -> None:
        """Let go of the connection at once, without a word to the agent."""
        if self._tunnel:
            self._tunnel.over(reason)
        self.connection.abort()

    async def _hold(self, tunnel: LiveTunnel, opened: asyncio.Future[str | None]) -> None:
        """The life of one tunnel: lease taken, registered, and after its end given back with the reason."""
        try:
            epoch = await database_sync_to_async(presence.open_tunnel)(
                host_id=tunnel.host_id,
                node=self.desk.node,
                address=tunnel.address,
                client=tunnel.client,
                lease_s=self.desk.lease_s,
            )
            with self.desk.registry.hold(tunnel):
                opened.set_result(None)
                reason = await tunnel.closed
            await database_sync_to_async(presence.close_tunnel)(host_id=tunnel.host_id, epoch=epoch, reason=reason)
        except Refused as refusal:
            opened.set_result(str(refusal))
        except Exception:
            log.exception("tunnel failed", host=str(tunnel.host_id))
            if not opened.done():
                opened.set_result("the broker could not register the tunnel, retry after 30 s")
            tunnel.close("internal error, retry after 30 s")
        finally:
            self._tunnel = None


def describe_loss(exc: Exception | None) -> str:
    """Why an agent's connection ended, for people."""
    if exc is None:
        return "the agent closed the connection"
    if isinstance(exc, asyncssh.ConnectionLost):
        return "no sign of life from the agent" if "keepalive" in str(exc).lower() else "the connection was cut"
    if isinstance(exc, asyncssh.DisconnectError):
        return f"the agent disconnected: {exc.reason}"
    return f"the connection broke: {exc}"
