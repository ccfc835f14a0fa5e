"""Forwarding to a real sshd, and to servers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.needs import missing
from tunnels.agent.account import own_account
from tunnels.agent.config import Target
from tunnels.agent.forward import Forward, NoServer, ask_host_keys
from tunnels.agent.tunnel import hold_tunnel

from .conftest import broker_of
from .stand_in import QUICK, TUNNEL_PORT, Gateway, line_of, open_descriptors
from .test_back_pressure import MEGABYTE, settled
from .waiting import patient, until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
HERE = ("localhost", TUNNEL_PORT)


@asynccontextmanager
async def forwarding(gateway: Gateway, target: Target) -> AsyncIterator[Gateway]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    up = asyncio.Event()
    holding = asyncio.create_task(hold_tunnel(broker_of(gateway), key, Forward(target), pace=QUICK, on_up=up.set))
    await until(up.is_set, "both ends know of the forward")
    yield gateway
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[Target]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    yield Target("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


async def _open(tunnel: asyncssh.SSHServerConnection) -> tuple[Any, Any]:
    reader_session: asyncssh.SSHTCPSession[bytes]
    chan, reader_session = await tunnel.create_connection(asyncssh.stream.SSHTCPStreamSession, *HERE, "127.0.0.1", 1)
    return asyncssh.SSHReader(reader_session, chan), asyncssh.SSHWriter(reader_session, chan)


@pytest.fixture
async def sshd(tmp_path: Path, gateway: Gateway) -> AsyncIterator[Target]:
    if SSHD is None:
        missing("sshd is missing: install the Debian package openssh-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, kind in (("ed25519", "ssh-ed25519"), ("ecdsa", "ecdsa-sha2-nistp256")):
        asyncssh.generate_private_key(kind).write_private_key(str(tmp_path / name))
        (tmp_path / name).chmod(0o600)
    (tmp_path / "ca.pub").write_text(line_of(gateway.authority) + "\n")
    (tmp_path / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path}/ed25519\nHostKey {tmp_path}/ecdsa\n"
        f"TrustedUserCAKeys {tmp_path}/ca.pub\nPidFile none\nUsePAM no\nStrictModes no\nAuthorizedKeysFile none\n"
        "PermitRootLogin prohibit-password\n"
    )
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "config")], stderr=log)
    try:
        await until(lambda: is_listening(port), "sshd")
        yield Target("127.0.0.1", port)
    finally:
        server.terminate()
        server.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.sshd
async def test_real_sshd_through_the_tunnel(sshd: Target, gateway: Gateway) -> None:
    lines = await ask_host_keys(sshd)
    assert sorted(line.split()[0] for line in lines) == ["ecdsa-sha2-nistp256", "ssh-ed25519"]
    known = ([asyncssh.import_public_key(line) for line in lines], [], [])
    key = asyncssh.generate_private_key("ssh-ed25519")
    size = 3 * MEGABYTE
    async with forwarding(gateway, sshd), patient():
        certificate = gateway.certificate(key, permit_pty=True)
        async with await gateway.connect(client_keys=[(key, certificate)], known_hosts=known) as conn:
            assert (await conn.run("echo $USER")).stdout == f"{own_account().login}\n"
            done = await conn.run(f"head -c {size} /dev/zero | sha256sum; exit 4")
            assert (done.exit_status, str(done.stdout).split()[0]) == (4, hashlib.sha256(bytes(size)).hexdigest())


async def test_no_sshd_is_said() -> None:
    with pytest.raises(NoServer, match=r"no SSH server answers at 127\.0\.0\.1:1"):
        await ask_host_keys(Target("127.0.0.1", 1))


async def test_bytes_and_half_closes_pass_both_ways(gateway: Gateway) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.sha256(await reader.read(-1)).hexdigest()
        writer.write(b"x" * 2 * MEGABYTE + digest.encode())
        await writer.drain()
        writer.close()

    async with serving(answer) as target, forwarding(gateway, target), patient():
        reader, writer = await _open(await gateway.up())
        data = b"\xff\x00\xfe" * MEGABYTE
        writer.write(data)
        writer.write_eof()
        received = await reader.read(-1)
        assert received == b"x" * 2 * MEGABYTE + hashlib.sha256(data).hexdigest().encode()


async def test_unreachable_target_refuses_the_channel_and_keeps_the_tunnel(gateway: Gateway) -> None:
    async with forwarding(gateway, Target("127.0.0.1", 1)), patient():
        tunnel = await gateway.up()
        for _ in range(2):
            with pytest.raises(asyncssh.ChannelOpenError, match=r"cannot reach 127\.0\.0\.1:1"):
                await _open(tunnel)
        assert gateway.tunnel is tunnel


async def test_slow_readers_on_both_sides_stop_the_writers(gateway: Gateway) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536
        except OSError:
            pass

    async with serving(flood) as target, forwarding(gateway, target), patient():
        reader, writer = await _open(await gateway.up())
        stopped = await settled(lambda: sent)
        assert stopped < 20 * MEGABYTE  # windows and the kernel's socket buffers
        writer.write(bytes(30 * MEGABYTE))  # `flood` never reads
        unsent = await settled(writer.channel.get_write_buffer_size)
        assert 30 * MEGABYTE - unsent < 20 * MEGABYTE
        await reader.readexactly(stopped + MEGABYTE)
        assert sent > stopped
        writer.channel.abort()


async def test_connections_are_counted_and_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnels.agent.forward.MAX_CONNECTIONS", 3)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    async with serving(echo) as target, forwarding(gateway, target), patient():
        tunnel = await gateway.up()
        before = open_descriptors()
        for _ in range(3):
            pairs = [await _open(tunnel) for _ in range(3)]
            with pytest.raises(asyncssh.ChannelOpenError, match="too many connections"):
                await _open(tunnel)
            for reader, writer in pairs:
                writer.write(b"ping")
                assert await reader.readexactly(4) == b"ping"
                writer.write_eof()
                assert await reader.read() == b""
            await until(lambda: open_descriptors() <= before, "sockets to be closed")


async def test_failure_in_one_connection_leaves_the_tunnel_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    def explode(*_args: object) -> None:
        raise RuntimeError("boom")

    async with serving(silent) as target, forwarding(gateway, target), patient():
        tunnel = await gateway.up()
        reader, writer = await _open(tunnel)
        monkeypatch.setattr("tunnels.agent.splice.SocketEnd.write", explode)
        writer.write(b"x")
        assert await reader.read() == b""
        assert gateway.tunnel is tunnel
    assert "boom" in caplog.text


async def test_tunnel_that_goes_while_we_dial_leaves_no_socket(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[asyncio.StreamReader] = []

    async def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(reader)
        await reader.read()
        writer.close()

    loop, may_go_on = asyncio.get_running_loop(), asyncio.Event()
    connect = loop.create_connection

    async def connect_slowly(*args: Any, **options: Any) -> Any:
        made = await connect(*args, **options)
        await may_go_on.wait()
        return made

    async with serving(remember) as target, forwarding(gateway, target), patient():
        tunnel = await gateway.up()
        monkeypatch.setattr(loop, "create_connection", connect_slowly)
        opening = asyncio.create_task(_open(tunnel))
        await until(lambda: accepted, "the connection")
        tunnel.abort()
        with pytest.raises(asyncssh.ChannelOpenError):
            await opening
        await until(lambda: gateway.tunnel is None, "the tunnel's end")
        may_go_on.set()
        await until(accepted[0].at_eof, "the socket to be closed")
