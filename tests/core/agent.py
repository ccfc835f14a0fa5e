"""A gateway and agents in this process: the real `Door` on a free port of loopback, AsyncSSH clients as agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncssh
from channels.db import database_sync_to_async

from brokerd.conf import Address
from brokerd.gateway import Gateway
from tests.machines.helpers import key_line
from tests.people.helpers import make_host
from tunnels.agents import AgentDesk
from tunnels.directory import Directory
from tunnels.keys import parse_public_key
from tunnels.keystore import gateway_key
from tunnels.models import Host, State
from tunnels.registry import TunnelRegistry


@dataclass
class Machine:
    """An enrolled machine: its row, and the key of its agent."""

    host: Host
    key: asyncssh.SSHKey

    @property
    def port(self) -> int:
        return self.host.tunnel_port


def make_machine(name: str = "web1", state: State = State.APPROVED) -> Machine:
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = parse_public_key(key.export_public_key("openssh").decode())
    host = make_host(name, state=state)
    Host.objects.filter(pk=host.pk).update(
        public_key=public.line, fingerprint=public.fingerprint, host_keys=[key_line(f"sshd of {name}")]
    )
    host.refresh_from_db()
    return Machine(host, key)


@dataclass
class Node:
    """What the gateway needs of one."""

    gateway: Gateway
    desk: AgentDesk
    registry: TunnelRegistry
    directory: Directory

    async def connect(self, key: asyncssh.SSHKey | None, name: str = "web1", **options: Any) -> Any:
        return await asyncssh.connect(
            "127.0.0.1",
            self.gateway.port,
            username=name,
            client_keys=[key] if key else [],
            known_hosts=([gateway_key().convert_to_public()], [], []),
            config=None,
            agent_path=None,
            **options,
        )

    @asynccontextmanager
    async def agent(self, machine: Machine, port: int | None = None, to: int = 9, **options: Any) -> AsyncIterator[Any]:
        """Connected, with its forward to `to` on loopback."""
        async with await self.connect(machine.key, machine.host.name, **options) as connection:
            await connection.forward_remote_port("localhost", machine.port if port is None else port, "127.0.0.1", to)
            yield connection


@asynccontextmanager
async def node(keepalive_s: int = 10) -> AsyncIterator[Node]:
    registry, directory = TunnelRegistry(), Directory()
    desk = AgentDesk(node="node-1", lease_s=35, directory=directory, registry=registry)
    await directory.reload()
    async with Gateway(desk=desk, address=Address("127.0.0.1", 0), keepalive_s=keepalive_s) as gateway:
        yield Node(gateway, desk, registry, directory)


in_database = database_sync_to_async
