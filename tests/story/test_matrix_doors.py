"""The websocket and the SSH gateway x every role. A kind of SSH request that is not in the table fails the suite."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.story.broker import SCALE, Broker, soon
from tests.story.browser import Browser
from tests.story.machine import Machine
from tests.story.ssh import connect
from tests.story.terminal import Terminal, open_socket, request_session, request_ticket, shell

pytestmark = pytest.mark.sshd
COOKIES = ("charlie", "alice", "auditor", "admin")


@pytest.fixture(scope="module")
def cookies(broker: Broker) -> dict[str, dict[str, str]]:
    return {name: {"Cookie": Browser(broker).log_in(name).cookie} for name in COOKIES}


async def knock(broker: Broker, socket: str, ticket: str, headers: dict[str, str]) -> int | str:
    """The close code, or "attached"."""
    terminal = Terminal(await open_socket(socket, broker, additional_headers=headers))
    await terminal.control("attach", ticket=ticket, cols=80, rows=24, output_offset=None, input_offset=None)
    reader = asyncio.create_task(terminal.closed())
    attached = asyncio.create_task(terminal.until_message("attached"))
    await asyncio.wait({reader, attached}, return_when=asyncio.FIRST_COMPLETED)
    answer = terminal.close_code or "attached"
    await terminal.close()
    await asyncio.gather(reader, attached, return_exceptions=True)
    return answer


async def test_websocket(broker: Broker, web1: Machine, fresh: Machine, cookies: dict[str, dict[str, str]]):
    """Without a ticket nobody gets in, and alice's ticket is alice's: with no login (a script's) or with hers."""
    pending = fresh.request()
    async with shell(broker, "web1") as terminal:
        socket = (await request_ticket(broker, terminal.id))["socket"]
        for role, headers in {"anonymous": {}, **cookies}.items():
            assert await knock(broker, socket, "", headers) == 4401, role
            ticket = (await request_ticket(broker, terminal.id))["ticket"]
            expected = "attached" if role in ("anonymous", "alice") else 4401
            assert await knock(broker, socket, ticket, headers) == expected, role
        for machine_token in (web1.enrollment["poll_token"], pending["poll_token"]):
            assert await knock(broker, socket, machine_token, {}) == 4401
            assert await knock(broker, socket, "", {"Authorization": f"Bearer {machine_token}"}) == 4401


async def test_websocket_of_a_session_that_ended(broker: Broker, web1: Machine, cookies: dict[str, dict[str, str]]):
    opened = await request_session(broker, "web1")
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{opened['id']}", None, "alice", 204)
    for role, headers in {"anonymous": {}, **cookies}.items():
        assert await knock(broker, opened["socket"], "", headers) == 4401, role


Ask = Callable[[asyncssh.SSHClientConnection, Machine, Path], Awaitable[Any]]
REQUESTS: dict[str, dict[str, Ask]] = {
    "session_requested": {
        "shell": lambda agent, machine, tmp: agent.create_process(term_type="xterm"),
        "exec": lambda agent, machine, tmp: agent.run("id"),
        "sftp": lambda agent, machine, tmp: agent.start_sftp_client(),
        "x11": lambda agent, machine, tmp: agent.create_process("id", x11_forwarding="ignore_failure"),
    },
    "connection_requested": {
        "to a host": lambda agent, machine, tmp: agent.open_connection("web1", 22),
        "to a port": lambda agent, machine, tmp: agent.open_connection("127.0.0.1", machine.enrollment["tunnel_port"]),
    },
    "unix_connection_requested": {
        "a socket": lambda agent, machine, tmp: agent.open_unix_connection("/run/docker.sock")
    },
    "unix_server_requested": {
        "a socket": lambda agent, machine, tmp: agent.forward_remote_path(str(tmp / "socket"), "/nowhere")
    },
    "server_requested": {
        "another port": lambda agent, machine, tmp: agent.forward_remote_port("", 22099, "127.0.0.1", 22),
        "another address": lambda agent, machine, tmp: agent.forward_remote_port("10.0.0.1", 0, "127.0.0.1", 22),
    },
    "tun_requested": {"a tun device": lambda agent, machine, tmp: agent.open_tun(1)},
    "tap_requested": {"a tap device": lambda agent, machine, tmp: agent.open_tap(1)},
}
"""Each question that AsyncSSH asks a server -> what an agent is refused. Granted is one: its own port."""


def test_every_kind_of_ssh_request_is_in_the_table():
    kinds = {name for name in dir(asyncssh.SSHServer) if name.endswith("_requested")}
    assert kinds == set(REQUESTS)


async def test_requests_of_an_approved_agent(broker: Broker, fresh: Machine, tmp_path: Path):
    fresh.request()
    fresh.approve()
    async with connect(fresh) as agent:
        await agent.forward_remote_port("", fresh.enrollment["tunnel_port"], "127.0.0.1", fresh.port)
        for kind, asks in REQUESTS.items():
            for what, ask in asks.items():
                with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ChannelListenError)):
                    await ask(agent, fresh, tmp_path)
                    pytest.fail(f"{kind}: {what} was granted")
        assert broker.is_online(fresh.name)


@pytest.mark.parametrize("role", ["pending", "rejected", "revoked"])
async def test_an_unapproved_agent_gets_nothing(broker: Broker, fresh: Machine, tmp_path: Path, role: str):
    """Its key proves itself, and the connection ends with the reason, whatever it asks for in the same breath."""
    fresh.request()
    if role == "rejected":
        broker.api("POST", f"/hosts/{fresh.name}/reject")
    if role == "revoked":
        fresh.approve()
        broker.api("POST", f"/hosts/{fresh.name}/revoke")

    async def ask_all() -> None:
        async with connect(fresh) as agent:
            for asks in REQUESTS.values():
                for ask in asks.values():
                    with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ChannelListenError)):
                        await ask(agent, fresh, tmp_path)
            await agent.forward_remote_port("", fresh.enrollment["tunnel_port"], "127.0.0.1", fresh.port)
            await agent.wait_closed()

    with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError)):
        await ask_all()
    assert not [event for event in broker.audit("tunnel.opened") if event["host"] == fresh.name]


async def test_a_stranger_waits_for_an_admin_and_gets_nothing(broker: Broker, fresh: Machine):
    """With a name of its own, a key that nobody knows may ask to become a host (tests/story/test_pairing.py)."""
    unknown = asyncssh.generate_private_key("ssh-ed25519")
    name = f"{fresh.name}-stranger"

    def waits() -> bool:
        waiting = broker.api("GET", "/hosts?state=pending&limit=1000")["items"]
        return [host["state"] for host in waiting if host["name"] == name] == ["pending"]

    async def come() -> None:
        await connect(fresh, username=name, client_keys=[unknown])

    coming = asyncio.create_task(come())
    await soon(waits, "it waits for an admin")
    await asyncio.wait({coming}, timeout=1)
    assert not coming.done()
    await asyncio.to_thread(broker.api, "POST", f"/hosts/{name}/reject")
    with pytest.raises((asyncssh.Error, OSError)):
        await asyncio.wait_for(coming, 30 * SCALE)


@pytest.mark.parametrize("name", [*COOKIES, "web1", "root@web1", "alice/web1"])
async def test_people_and_strangers_have_no_key_here(broker: Broker, web1: Machine, name: str):
    """Whatever name they give, with a key that nobody registered, with none, and with a password."""
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for credentials in (
        {"client_keys": [stranger]},
        {"client_keys": [], "password": "correct horse battery", "preferred_auth": "password,keyboard-interactive"},
        {"client_keys": []},
    ):
        with pytest.raises(asyncssh.PermissionDenied):
            await connect(web1, username=name, **credentials)
    assert broker.is_online("web1")
