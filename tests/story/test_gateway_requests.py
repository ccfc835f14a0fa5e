"""What an agent may not do: everything but its one remote forward. Each try leaves the tunnel as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest
from asyncssh.tuntap import SSH_TUN_MODE_POINTTOPOINT as POINT_TO_POINT

from tests.story.broker import SCALE, Broker
from tests.story.machine import Machine
from tests.story.ssh import connect

pytestmark = pytest.mark.sshd
REFUSED = {
    "a shell": ["-T"],
    "a terminal": ["-tt"],
    "a command": ["COMMAND", "id"],
    "a subsystem": ["-s", "COMMAND", "sftp"],
    "the way to a name": ["-W", "web1:22"],
    "the way to a tunnel port": ["-W", "localhost:22100"],
    "agent forwarding": ["-A", "-tt", "COMMAND", "id"],
    "X11": ["-X", "COMMAND", "id"],
}
"""What is asked for -> options of the stock client, and what stands after the destination."""


@pytest.mark.parametrize("what", REFUSED)
def test_refused_to_the_stock_client(broker: Broker, web1: Machine, what: str):
    options, _, command = " ".join(REFUSED[what]).partition("COMMAND")
    assert broker.is_online("web1")
    done = subprocess.run(
        [*web1.ssh_command(*options.split(), forward="none", interactive=True), *command.split()],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=20 * SCALE,
    )
    assert done.returncode == 255
    assert "open failed" in done.stderr or "stdio forwarding failed" in done.stderr
    assert done.stdout == ""
    assert broker.is_online("web1")


async def test_refused_on_the_connection_that_holds_the_tunnel(broker: Broker, fresh: Machine, tmp_path: Path):
    """One connection asks for each in turn, and still has its forward."""
    fresh.request()
    fresh.approve({"person": "alice", "logins": ["root"]})
    path = tmp_path / "socket"
    async with connect(fresh) as agent:
        listener = await agent.forward_remote_port("", fresh.enrollment["tunnel_port"], "127.0.0.1", fresh.port)
        for ask in (
            agent.run("id"),
            agent.create_process(),
            agent.start_sftp_client(),
            agent.create_process(subsystem="netconf"),
            agent.open_connection("localhost", 22100),
            agent.open_connection("web1", 22),
            agent.open_unix_connection("/run/docker.sock"),
            agent.open_tun(POINT_TO_POINT),
        ):
            with pytest.raises(asyncssh.ChannelOpenError):
                await ask
        for listen in (
            agent.forward_remote_path(str(path), "/nowhere"),
            agent.forward_remote_port("", fresh.enrollment["tunnel_port"] + 1, "127.0.0.1", 22),
            agent.forward_remote_port("", 0, "127.0.0.1", 22),
        ):
            with pytest.raises(asyncssh.ChannelListenError):
                await listen
        assert not path.exists()
        assert broker.is_online(fresh.name)
        listener.close()
