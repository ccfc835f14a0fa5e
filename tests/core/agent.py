"""A gateway and agents in this process: the real `Door` on a free port of loopback, AsyncSSH clients as agents."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncssh
import pytest
from channels.db import database_sync_to_async
from django.conf import settings

from brokerd.conf import Address
from brokerd.entry import Entry
from brokerd.gateway import Gateway
from terminals.limits import Limits
from terminals.live import LiveTerminals
from terminals.ssh.desk import PeopleDesk
from terminals.ssh.held import Held
from tests.core.waiting import PATIENCE_S, until
from tests.machines.helpers import key_line
from tests.people.helpers import make_host
from tunnels import presence
from tunnels.agents import AgentDesk
from tunnels.directory import Directory
from tunnels.keys import parse_public_key
from tunnels.keystore import gateway_key
from tunnels.models import Host, State
from tunnels.pairing import PairingDesk
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
    people: PeopleDesk
    pairing: PairingDesk

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
async def node(keepalive_s: float = 10, entry: Entry | None = None) -> AsyncIterator[Node]:
    registry, directory = TunnelRegistry(), Directory()
    config = settings.BROKERD
    desk = AgentDesk(
        node="node-1",
        lease_s=35,
        directory=directory,
        registry=registry,
        binds_ports=config.bind_tunnel_ports,
        tunnel_ports=config.tunnel_ports,
    )
    await directory.reload()
    limits = Limits(grace_s=600, idle_s=0, longest_s=0)
    people = PeopleDesk(
        terminals=LiveTerminals(node="node-1", registry=registry, limits=limits),
        held=Held(node="node-1", registry=registry, limits=limits),
    )
    address = Address("127.0.0.1", 0)
    pairing = PairingDesk(directory=directory, is_person=people.keyring.is_person)
    gateway = Gateway(
        desk=desk, people=people, pairing=pairing, address=address, keepalive_s=keepalive_s, entry=entry or Entry()
    )
    async with gateway:
        yield Node(gateway, desk, registry, directory, people, pairing)


async def vanish_while_registering(broker: Node, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> object:
    """Its agent's connection is cut while the tunnel is written down. What became of the agent's request."""
    inside, go = threading.Event(), threading.Event()
    open_tunnel = presence.open_tunnel

    def slow(**facts: Any) -> Any:
        inside.set()
        assert go.wait(PATIENCE_S)
        return open_tunnel(**facts)

    monkeypatch.setattr(presence, "open_tunnel", slow)
    connection = await broker.connect(machine.key)

    async def ask() -> None:
        await connection.forward_remote_port("localhost", machine.port, "127.0.0.1", 9)

    asking = asyncio.create_task(ask())
    await until(inside.is_set)
    connection.abort()
    await until(lambda: broker.gateway.connections == 0)
    go.set()
    [outcome] = await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not broker.desk._tasks)
    return outcome


in_database = database_sync_to_async
