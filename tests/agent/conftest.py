from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.account import own_account
from tunnels.agent.session import Sessions
from tunnels.agent.shell import BrokersGuard, LoginShell
from tunnels.agent.state import Broker
from tunnels.agent.tunnel import hold_tunnel

from .stand_in import QUICK, TUNNEL_PORT, Gateway, Portal, gateway_running, line_of
from .waiting import until


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with gateway_running() as running:
        yield running


@pytest.fixture
async def portal(gateway: Gateway) -> AsyncIterator[Portal]:
    running = Portal(gateway)
    try:
        yield running
    finally:
        running.stop()


def broker_of(gateway: Gateway, name: str = "web1") -> Broker:
    """What an agent knows once it is approved at `gateway`."""
    from tunnels.agent.state import Gateway as Address

    address = Address("127.0.0.1", gateway.port, (line_of(gateway.key),))
    pinned = "2026-01-01T00:00:00+00:00"
    return Broker("http://portal", "e1", name, "approved", TUNNEL_PORT, line_of(gateway.authority), address, pinned)


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    sessions = Sessions(own_account(), limit=20, hangup_s=QUICK.hangup)
    yield sessions
    await sessions.end()


@pytest.fixture
async def shell(gateway: Gateway, sessions: Sessions) -> AsyncIterator[Gateway]:
    """A gateway with one live tunnel, at whose other end is a login shell."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    guard = BrokersGuard(lambda: [line_of(gateway.authority)], own_account().login)
    service = LoginShell(host_key, guard, sessions)
    up = asyncio.Event()
    holding = asyncio.create_task(hold_tunnel(broker_of(gateway), key, service, pace=QUICK, on_up=up.set))
    await until(up.is_set, "both ends know of the forward")
    yield gateway
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
