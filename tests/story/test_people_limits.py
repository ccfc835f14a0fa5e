"""A person's client that does not keep to the rules: bounded, refused with a reason, on record, others unaffected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from tests.story.broker import SCALE, Broker, soon
from tests.story.client import Client, known_client
from tests.story.machine import LOGIN, Machine, machine, ssh_grant
from tests.story.terminal import shell

pytestmark = pytest.mark.sshd
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory):
    with machine(tmp_path_factory.mktemp("limits"), "limits1", broker) as made:
        made.bring_up(ssh_grant())
        yield made


@pytest.fixture(scope="module")
def alice(broker: Broker, host: Machine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return known_client(tmp_path_factory.mktemp("alice"), broker)


async def connect(alice: Client, username: str) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        alice.broker.ssh_port,
        username=username,
        client_keys=[str(alice.key)],
        known_hosts=None,
        config=None,
        agent_path=None,
    )


@pytest.fixture
async def portal(alice: Client) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with await connect(alice, "alice") as connection:
        yield connection


@pytest.fixture
async def brokered(alice: Client, host: Machine) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with await connect(alice, f"{LOGIN}@{host.name}") as connection:
        yield connection


async def test_sessions_of_one_connection(broker: Broker, brokered: asyncssh.SSHClientConnection):
    running = [await brokered.create_process("sleep 30") for _ in range(10)]
    with pytest.raises(asyncssh.ChannelOpenError, match="at most 10 sessions"):
        await brokered.create_process("true")
    running[0].close()
    await running[0].wait_closed()
    assert (await brokered.run("echo again")).stdout == "again\n"
    await soon(lambda: "at most 10 sessions in one connection" in refusals(broker, "session"), "it is on record")


def refusals(broker: Broker, what: str) -> list[str]:
    return [event["detail"]["reason"] for event in broker.audit(f"{what}.refused")]


async def test_ten_thousand_channels(
    broker: Broker, host: Machine, web1: Machine, portal: asyncssh.SSHClientConnection
):
    before = broker.rss()

    async def knock() -> bool:
        try:
            await portal.open_connection(host.name, 22)
        except asyncssh.ChannelOpenError as error:
            assert "at most 50 ways" in error.reason
            return False
        return True

    opened = 0
    for _ in range(100):
        opened += sum(await asyncio.gather(*(knock() for _ in range(100))))
    assert opened == 50
    assert broker.rss() - before < 30 * MEGABYTE
    reason = "at most 50 ways to hosts in one connection"
    await soon(lambda: reason in refusals(broker, "forward"), "it is on record")
    assert refusals(broker, "forward").count(reason) == 1, "once for a connection"
    # On another host: fifty clients that do not log in are more than this one's sshd has patience for (MaxStartups).
    async with shell(broker, "web1") as terminal:
        await terminal.run("echo $((6*7))")
        await terminal.until(b"42")


class Deaf(asyncssh.SSHTCPSession[bytes]):
    """Grants 4 GiB, and its connection is never read."""


async def test_a_client_that_never_reads_with_an_endless_window(
    broker: Broker, host: Machine, alice: Client, tmp_path: Path
):
    """The host would send it all that it has: a file of 300 MB through `cat`."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(300 * MEGABYTE)
    connection = await connect(alice, f"{LOGIN}@{host.name}")
    before = broker.rss()
    _, _ = await connection.create_session(asyncssh.SSHClientSession, f"cat {big}", encoding=None, window=2**32 - 1)
    connection._transport.pause_reading()
    grown = []
    for _ in range(10):
        await asyncio.sleep(0.3)
        grown.append(broker.rss() - before)
    assert max(grown) < 16 * MEGABYTE, grown
    connection.abort()


async def test_garbage_instead_of_sftp(brokered: asyncssh.SSHClientConnection):
    channel, _ = await brokered.create_session(asyncssh.SSHClientSession, subsystem="sftp", encoding=None)
    channel.write(b"\xff" * 1000)
    await asyncio.wait_for(channel.wait_closed(), 30 * SCALE)
    assert (await brokered.run("echo alive")).stdout == "alive\n"


async def test_what_is_not_for_people(portal: asyncssh.SSHClientConnection, brokered: asyncssh.SSHClientConnection):
    for connection in (portal, brokered):
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("", 0, "127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection("/run/docker.sock")
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process(subsystem="netconf")
    with pytest.raises(asyncssh.ChannelOpenError, match="log in as alice@"):
        await brokered.open_connection("limits1", 22)
    with pytest.raises(asyncssh.ChannelOpenError):
        await portal.start_sftp_client()


async def test_a_host_that_is_lost_ends_what_goes_there(broker: Broker, tmp_path: Path, alice: Client):
    with machine(tmp_path, "goner1", broker) as goner:
        goner.bring_up({**ssh_grant(), "capabilities": ["exec", "forward"]})
        async with await connect(alice, f"{LOGIN}@goner1") as connection, await connect(alice, "alice") as jump:
            process = await connection.create_process("echo up; sleep 60")
            assert await process.stdout.readline() == "up\n"
            reader, _ = await jump.open_connection("goner1", 22)
            assert (await reader.readline()).startswith(b"SSH-2.0-")
            goner.stop_agents()
            assert (await asyncio.wait_for(process.wait(), 30 * SCALE)).exit_status == 255
            await asyncio.wait_for(reader.read(), 30 * SCALE)
            with pytest.raises(asyncssh.ChannelOpenError, match="goner1 is offline"):
                await jump.open_connection("goner1", 22)
            done = await connection.run("true")
            assert done.exit_status == 255 and "goner1 is offline" in done.stderr
