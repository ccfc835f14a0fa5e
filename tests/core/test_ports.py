"""`tunnels.ports`: bound on loopback, joined raw to the host, bounded, on record, and gone with the tunnel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.core.agent import in_database, make_machine, node, vanish_while_registering
from tests.core.waiting import PATIENCE_S, eventually, until
from tests.people.helpers import events
from tunnels import ports, presence
from tunnels.audit import Actor
from tunnels.hosts import revoke_host
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def web1(settings, db):
    settings.BROKERD = replace(settings.BROKERD, bind_tunnel_ports=True)
    return make_machine("web1")


@pytest.fixture
async def broker(web1):
    async with node() as broker:
        yield broker


@asynccontextmanager
async def server(serve) -> AsyncIterator[int]:
    """What the tunnel ends at."""
    acceptor = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield acceptor.sockets[0].getsockname()[1]
    finally:
        acceptor.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of its input, which it answers with its own."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def is_bound(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def closed(*names: str) -> AuditEvent:
    seen: list[str] = []

    async def look() -> bool:
        seen[:] = [name for name in await in_database(events)() if name.startswith("forward")]
        return seen == list(names)

    try:
        await eventually(look)
    except AssertionError:
        raise AssertionError(f"{seen} is not {list(names)}") from None
    return await in_database(AuditEvent.objects.filter(event__startswith="forward").latest)("sequence")


async def test_a_local_program_reaches_the_host_and_it_is_on_record(broker, web1):
    async with server(echo) as at, broker.agent(web1, to=at):
        await until(lambda: len(broker.desk.ports) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
        payload = bytes(range(256)) * 4096
        writer.write(payload)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == payload
        writer.close()
        last = await closed("forward.opened", "forward.closed")
        assert (last.person, last.address, last.host) == ("", "127.0.0.1", "web1")
        assert last.detail["note"] == "local, end to end, not recorded"
        assert (last.detail["bytes_in"], last.detail["bytes_out"]) == (len(payload), len(payload))
        await until(lambda: broker.desk.ports.connections == 0)


async def test_on_loopback_only(broker, web1):
    async with broker.agent(web1):
        await until(lambda: len(broker.desk.ports) == 1)
        (port,) = broker.desk.ports._ports.values()
        assert [sock.getsockname() for sock in port.acceptor.sockets] == [("127.0.0.1", web1.port)]


async def test_the_port_goes_with_the_tunnel(broker, web1):
    async with server(echo) as at:
        async with broker.agent(web1, to=at):
            await until(lambda: len(broker.desk.ports) == 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
            writer.write(b"x")
            assert await asyncio.wait_for(reader.read(1), PATIENCE_S) == b"x"
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()
        await until(lambda: len(broker.desk.ports) == 0)
        assert not is_bound(web1.port)
        await closed("forward.opened", "forward.closed")


async def test_and_with_the_host(broker, web1):
    async with broker.agent(web1):
        await until(lambda: len(broker.desk.ports) == 1)
        await in_database(revoke_host)(host=web1.host, actor=Actor("admin"))
        await broker.directory.reload()
        broker.registry.enforce(broker.directory)
        await until(lambda: len(broker.desk.ports) == 0)
        assert not is_bound(web1.port)


async def test_a_new_tunnel_takes_the_port_over(broker, web1):
    async with server(echo) as at, broker.agent(web1, to=at), broker.agent(web1, to=at):
        await until(lambda: broker.gateway.connections == 1 and len(broker.desk.ports) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(1), PATIENCE_S) == b"x"
        writer.close()


async def test_a_port_that_another_program_has_is_told_and_the_tunnel_is_up(broker, web1, caplog):
    with socket.create_server(("127.0.0.1", web1.port)):
        async with broker.agent(web1):
            assert broker.registry.get(web1.host.pk)
            await until(lambda: "a tunnel port could not be bound" in caplog.text)
            assert len(broker.desk.ports) == 0
    await until(lambda: len(broker.registry) == 0)


async def test_vanishing_while_the_tunnel_is_registered_leaks_no_listener(broker, web1, monkeypatch):
    """Trap 6."""
    await vanish_while_registering(broker, web1, monkeypatch)
    assert len(broker.desk.ports) == 0 and not is_bound(web1.port)


async def test_connections_are_bounded(broker, web1, monkeypatch, caplog):
    monkeypatch.setattr(ports, "MAX_OF_HOST", 2)
    async with server(echo) as at, broker.agent(web1, to=at):
        await until(lambda: len(broker.desk.ports) == 1)
        kept = [await asyncio.open_connection("127.0.0.1", web1.port) for _ in range(2)]
        await until(lambda: broker.desk.ports.connections == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()
        assert "a local connection was refused" in caplog.text
        for _, one in kept:
            one.close()
        await until(lambda: broker.desk.ports.connections == 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(1), PATIENCE_S) == b"x", "there is room again"
        writer.close()


async def test_a_local_program_that_does_not_read_holds_the_host_back(broker, web1):
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while sent < 200 * 1024 * 1024:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536
        except OSError:
            pass

    async with server(flood) as at, broker.agent(web1, to=at):
        await until(lambda: len(broker.desk.ports) == 1)
        with socket.create_connection(("127.0.0.1", web1.port)) as idle:
            await until(lambda: sent > 0)
            await held(lambda: sent)
            assert sent < 50 * 1024 * 1024
            idle.setblocking(False)
        await closed("forward.opened", "forward.closed")


async def held(count) -> None:
    """Until it grows no more."""
    before = -1
    while before != count():
        before = count()
        await asyncio.sleep(0.3)


async def test_a_host_that_does_not_read_holds_the_local_program_back(broker, web1):
    never = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()

    async with server(deaf) as at, broker.agent(web1, to=at):
        await until(lambda: len(broker.desk.ports) == 1)
        written = 0
        _, writer = await asyncio.open_connection("127.0.0.1", web1.port)

        async def push() -> None:
            nonlocal written
            while written < 200 * 1024 * 1024:
                writer.write(bytes(65536))
                await writer.drain()
                written += 65536

        pushing = asyncio.create_task(push())
        await until(lambda: written > 0)
        await held(lambda: written)
        assert written < 50 * 1024 * 1024
        pushing.cancel()
        writer.transport.abort()
        await asyncio.gather(pushing, return_exceptions=True)
        never.set()


async def test_a_host_whose_ssh_server_is_down(broker, web1):
    async with broker.agent(web1, to=1):
        await until(lambda: len(broker.desk.ports) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()
        last = await closed("forward.opened", "forward.closed")
        assert "the SSH server of web1 does not answer through its tunnel" in last.detail["reason"]


async def test_what_cannot_be_put_on_record_is_not_opened(broker, web1, monkeypatch, caplog):
    monkeypatch.setattr(presence, "note_local_opened", lambda **facts: 1 / 0)
    async with server(echo) as at, broker.agent(web1, to=at):
        await until(lambda: len(broker.desk.ports) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", web1.port)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()
        assert "local connection failed" in caplog.text
        assert broker.registry.get(web1.host.pk)
        await until(lambda: broker.desk.ports.connections == 0)


async def test_off_by_default(settings, db):
    assert not settings.BROKERD.bind_tunnel_ports
    machine = await in_database(make_machine)("web1")
    async with node() as broker, broker.agent(machine):
        assert broker.desk.ports is None
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", machine.port)
