"""The live tunnels of this node, in memory: the only way from a host's identity to its agent's connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncssh

from tunnels.directory import Directory
from tunnels.presence import REPLACED

CHANNEL_WINDOW = 256 * 1024
"""Receive window of one forwarded-tcpip channel, bytes: twice that of the session that runs inside."""


@dataclass(eq=False, slots=True)
class LiveTunnel:
    """One agent's connection with its remote forward."""

    host_id: UUID
    connection: asyncssh.SSHServerConnection
    listen_host: str
    """The bind address as the agent gave it: a forwarded-tcpip channel must name the same."""
    listen_port: int
    address: str
    client: str
    closed: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when it is over, with the reason."""

    def close(self, reason: str) -> None:
        """End it: the agent is told why, the connection goes. Idempotent."""
        self.over(reason)
        self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)

    def over(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)

    async def create_connection(self, session_factory: Any, host: str, port: int) -> Any:
        """What `asyncssh.connect(tunnel=...)` calls. `host` and `port` name the host for AsyncSSH's messages only."""
        return await self.open(session_factory)

    async def open(self, session_factory: Any, *, window: int = CHANNEL_WINDOW) -> Any:
        """One forwarded-tcpip channel (RFC 4254 section 7.2) to where the agent listens.

        The originator is loopback, the only place from where our certificates hold. Raises asyncssh.Error.
        """
        return await self.connection.create_connection(
            session_factory, self.listen_host, self.listen_port, "127.0.0.1", 22, window=window
        )


class TunnelRegistry:
    def __init__(self) -> None:
        self._tunnels: dict[UUID, LiveTunnel] = {}

    def __len__(self) -> int:
        return len(self._tunnels)

    @property
    def host_ids(self) -> list[UUID]:
        return list(self._tunnels)

    def get(self, host_id: UUID) -> LiveTunnel | None:
        return self._tunnels.get(host_id)

    @contextmanager
    def hold(self, tunnel: LiveTunnel) -> Iterator[None]:
        """Be the host's tunnel while inside. The one before it is closed: the newest connection wins."""
        if before := self._tunnels.get(tunnel.host_id):
            before.close(REPLACED)
        self._tunnels[tunnel.host_id] = tunnel
        try:
            yield
        finally:
            if self._tunnels.get(tunnel.host_id) is tunnel:
                del self._tunnels[tunnel.host_id]

    def enforce(self, directory: Directory) -> None:
        """Close the tunnels of hosts that are no longer approved."""
        for tunnel in list(self._tunnels.values()):
            known = directory.by_id(tunnel.host_id)
            if known is None or known.facts.state != "approved":
                tunnel.close(f"this host was {known.facts.state if known else 'removed'}")

    def close_all(self, reason: str) -> None:
        for tunnel in list(self._tunnels.values()):
            tunnel.close(reason)
