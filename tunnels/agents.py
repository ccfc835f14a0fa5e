"""The agents' side of the gateway: a connection whose key belongs to a host gets one remote forward, and nothing else.

No TCP port is opened: the forward is granted with a private listener, and terminals reach the host over the agent's
own connection (`registry.LiveTunnel`). AsyncSSH closes the whole connection on an exception in one of its callbacks,
so each entry here has its own root handler.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncssh
import structlog
from channels.db import database_sync_to_async

from tunnels import presence, spool
from tunnels.directory import Directory, KnownHost
from tunnels.enrollment import take_port
from tunnels.errors import Refused
from tunnels.keystore import Role
from tunnels.learning import after_proof_of_keys
from tunnels.models import Host
from tunnels.pinning import pin
from tunnels.ports import BoundPorts
from tunnels.registry import LiveTunnel, TunnelRegistry
from tunnels.rotation import note_learned
from tunnels.rules import refuse_agent, refuse_listen

REPEAT_S = 600
"""The same refusal of the same host is audited once in this time, seconds: agents try again for ever."""
LAST_WORD_S = 0.3
"""For so long a refused forward may be followed by another one, before the connection is of no use."""
MAX_REFUSALS = 20
"""Different refusals of one host that are audited in this time: an agent may ask for whatever it likes."""

FORWARD_HANDLER = "_process_tcpip_forward_global_request"
"""AsyncSSH's, by which its queue of requests is told apart."""

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

    def __init__(
        self,
        *,
        node: str,
        lease_s: int,
        directory: Directory,
        registry: TunnelRegistry,
        binds_ports: bool = False,
        tunnel_ports: range = range(0),
    ) -> None:
        self.node = node
        self.lease_s = lease_s
        self.directory = directory
        self.registry = registry
        self.tunnel_ports = tunnel_ports
        self.ports = BoundPorts(directory=directory, own=self.own) if binds_ports else None
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

    def refuse_source(self, address: str, reason: str) -> None:
        """Put on record that nobody is let in from there; whoever calls sees to it that these are few."""
        self.own(self._note("", address, reason))

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note(self, host: str, address: str, reason: str) -> None:
        try:
            await spool.keep(presence.note_refusal, host=host, address=address, reason=reason)
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
        after_proof_of_keys(self.connection, self._prove)

    def _prove(self, fingerprint: str) -> None:
        """The agent has learned a key of the gateway that it did not know."""
        self.desk.own(self._note_learned(fingerprint))

    async def _note_learned(self, fingerprint: str) -> None:
        note = database_sync_to_async(note_learned)
        try:
            await note(role=Role.GATEWAY, host_id=self.host_id, fingerprint=fingerprint)
        except Exception:
            log.exception("knowledge of the gateway's key not recorded", host=str(self.host_id))

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
        if self._may_take(known, listen_port):
            known = await self._take_port(known, listen_port)
        refusal = refuse_listen(known.facts, host=listen_host, port=listen_port, held=self._tunnel is not None)
        if refusal:
            return await self._refuse(known, refusal)
        client = str(self.connection.get_extra_info("client_version") or "")
        port = known.facts.tunnel_port
        tunnel = self._tunnel = LiveTunnel(
            self.host_id, self.connection, listen_host, listen_port or port, self.address, client
        )
        opened: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.desk.own(self._hold(tunnel, opened))
        if refusal := await opened:
            return await self._refuse(known, refusal)
        if self._lost is not None:
            return False
        if not known.is_pinned:
            # Begins when the agent has its answer: before, it does not know the port that a channel names.
            self.desk.own(pin(tunnel, self.desk.directory))
        return PrivateListener(tunnel, port)

    def _may_take(self, known: KnownHost, port: int) -> bool:
        """Whether a machine that enrolled over SSH, and has not been here since, may have the tunnel port it names."""
        is_new = not known.is_pinned and self._tunnel is None and port != known.facts.tunnel_port
        return is_new and port in self.desk.tunnel_ports and not self.desk.directory.holds(port=port)

    async def _take_port(self, known: KnownHost, port: int) -> KnownHost:
        """The host with that port; as it was where it may not have it."""
        try:
            await database_sync_to_async(_take)(known.id, port, self.address)
            await self.desk.directory.refresh(known.id)
        except Refused:
            pass  # on record; the agent is told which port is its own
        except Exception:
            log.exception("tunnel port not changed", host=known.facts.name)
        return self.desk.directory.by_id(known.id) or known

    async def _refuse(self, known: KnownHost, reason: str) -> bool:
        """Refuse a forward for good. Stock clients show the reason with -v only, but that of a disconnect always: so
        where it was the only one, the connection, which may do nothing else, ends with the reason."""
        self.desk.refuse(known, self.address, reason)
        self.connection.send_debug(reason, always_display=True)
        if self._is_of_no_use():
            await asyncio.sleep(LAST_WORD_S)
            if self._is_of_no_use() and self._lost is None:
                self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)
        return False

    def _is_of_no_use(self) -> bool:
        """Without a tunnel, and without another forward that it asks for: a client sends all its requests at once."""
        queue = getattr(self.connection, "_global_request_queue", ())
        asked = [handler for handler, *_ in queue if getattr(handler, "__name__", "") == FORWARD_HANDLER]
        return self._tunnel is None and len(asked) <= 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = describe_loss(exc)
        if self._tunnel:
            self._tunnel.over(self._lost)

    def cut(self, reason: str) -> None:
        """Let go of the connection at once, without a word to the agent."""
        if self._tunnel:
            self._tunnel.over(reason)
        self.connection.abort()

    def _bound(self, tunnel: LiveTunnel) -> AbstractAsyncContextManager[None]:
        known = self.desk.directory.by_id(tunnel.host_id)
        if self.desk.ports is None or known is None:
            return nullcontext()
        return self.desk.ports.hold(tunnel, known.facts.tunnel_port)

    async def _hold(self, tunnel: LiveTunnel, opened: asyncio.Future[str | None]) -> None:
        """The life of one tunnel: lease taken, registered, and after its end given back with the reason."""
        try:
            epoch = await spool.ask(
                presence.open_tunnel,
                host_id=tunnel.host_id,
                node=self.desk.node,
                address=tunnel.address,
                client=tunnel.client,
                lease_s=self.desk.lease_s,
            )
            with self.desk.registry.hold(tunnel):
                opened.set_result(None)
                async with self._bound(tunnel):
                    reason = await tunnel.closed
            await spool.keep(presence.close_tunnel, host_id=tunnel.host_id, epoch=epoch, reason=reason)
        except Refused as refusal:
            opened.set_result(str(refusal))
        except Exception:
            log.exception("tunnel failed", host=str(tunnel.host_id))
            if not opened.done():
                opened.set_result("the broker could not register the tunnel, retry after 30 s")
            tunnel.close("internal error, retry after 30 s")
        finally:
            self._tunnel = None


def _take(host_id: UUID, port: int, address: str) -> None:
    host = Host.objects.select_related("tunnel").get(pk=host_id)
    if not hasattr(host, "tunnel"):  # asked for again and again, it would be on record each time
        take_port(host=host, port=port, address=address)


def describe_loss(exc: Exception | None) -> str:
    """Why an agent's connection ended, for people."""
    if exc is None:
        return "the agent closed the connection"
    if isinstance(exc, asyncssh.ConnectionLost):
        return "no sign of life from the agent" if "keepalive" in str(exc).lower() else "the connection was cut"
    if isinstance(exc, ConnectionError):
        return "the connection was cut"  # a reset: something was on its way to an agent that is gone
    if isinstance(exc, asyncssh.DisconnectError):
        return f"the agent disconnected: {exc.reason}"
    return f"the connection broke: {exc}"
