"""`tunnels.pairing` and `tunnels.pinning`: who may wait at the door, how many, how long, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32

from brokerd import door
from terminals.people import create_person
from tests.core.agent import Node, in_database, make_machine, node
from tests.core.host import fake_host
from tests.core.waiting import PATIENCE_S, eventually, until
from tests.people.helpers import events
from tunnels import enrollment, pairing, pinning
from tunnels.audit import OPERATOR, Actor
from tunnels.enrollment import approve_enrollment, pairing_code_of, reject_enrollment
from tunnels.errors import Conflict
from tunnels.models import AuditEvent, Host, State
from tunnels.throttle import Throttle

pytestmark = pytest.mark.django_db(transaction=True)
ADMIN = Actor("admin")


@pytest.fixture(autouse=True)
def is_open(settings, monkeypatch):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)
    monkeypatch.setattr(pairing, "throttle", Throttle(burst=100, refill_s=1))


@pytest.fixture
async def broker(db):
    async with node() as broker:
        yield broker


class Client(asyncssh.SSHClient):
    def __init__(self) -> None:
        self.banners: list[str] = []
        self.lost: Exception | None = None

    def auth_banner_received(self, msg: str, lang: str) -> None:
        self.banners.append(msg)


class Eager(Client):
    """Can send one more packet while it waits."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn

    async def public_key_auth_requested(self) -> None:
        await asyncio.Event().wait()  # no other key, and no word that it has none

    def send(self, kind: int, payload: bytes) -> None:
        # Not `send_packet` alone: that holds back what may not be sent yet.
        self.connection._auth_complete = True
        self.connection.send_packet(kind, payload)


class Newcomer:
    """A client with a key of its own that dials the gateway."""

    def __init__(self, broker: Node, name: str, **options: Any) -> None:
        self.broker = broker
        self.name = name
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.fingerprint = self.key.get_fingerprint()
        self.client = Client()
        self.options = options

    @property
    def shown(self) -> str:
        return "".join(self.client.banners)

    async def dial(self) -> Any:
        return await self.broker.connect(
            self.key, self.name, client_factory=lambda: self.client, login_timeout=10 * PATIENCE_S, **self.options
        )

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[asyncio.Task[Any]]:
        """It waits; on leaving, its connection is gone."""
        before = len(self.broker.pairing)
        dialling = asyncio.create_task(self.dial())
        try:
            await until(lambda: len(self.broker.pairing) > before or dialling.done(), "it waits")
            assert not dialling.done(), (dialling, self.shown)
            await until(lambda: self.shown, "it was told")
            await until_row(self)  # else it may be written when the next test has begun
            yield dialling
        finally:
            dialling.cancel()
            for result in await asyncio.gather(dialling, return_exceptions=True):
                if isinstance(result, asyncssh.SSHClientConnection):
                    result.abort()

    async def host(self) -> Host:
        row: Host = await in_database(Host.objects.get)(fingerprint=self.fingerprint)
        return row


async def told(broker: Node) -> None:
    """As the change feed does it."""
    await broker.directory.reload()
    broker.pairing.look()


async def until_row(newcomer: Newcomer) -> None:
    await eventually(in_database(Host.objects.filter(fingerprint=newcomer.fingerprint).exists), "its enrollment")


async def recorded(event: str) -> None:
    await eventually(in_database(AuditEvent.objects.filter(event=event).exists), event)


async def is_cut(dialling: asyncio.Task[Any]) -> None:
    await until(dialling.done, "its connection is cut")
    with pytest.raises((asyncssh.Error, OSError)):
        dialling.result()


# The wait


async def test_it_is_let_in_by_the_approval_and_is_an_agent_from_then_on(broker):
    newcomer = Newcomer(broker, "new1")
    async with newcomer.waiting() as dialling:
        host = await newcomer.host()
        assert (host.state, host.name, host.host_keys) == (State.PENDING, "new1", [])
        assert host.code == pairing_code_of(newcomer.fingerprint)
        assert newcomer.fingerprint in newcomer.shown and host.code in newcomer.shown
        assert not dialling.done()
        await in_database(approve_enrollment)(host=host, fingerprint=host.fingerprint, actor=ADMIN)
        await told(broker)
        connection = await asyncio.wait_for(dialling, PATIENCE_S)
        assert len(broker.pairing) == 0
        listener = await connection.forward_remote_port("localhost", 0, "127.0.0.1", 9)
        assert listener.get_port() == host.tunnel_port
    names = await in_database(events)()
    assert names[:3] == ["enrollment.requested", "host.approved", "tunnel.opened"]


async def test_the_banner_is_plain_text_and_names_no_secret(broker):
    newcomer = Newcomer(broker, "new1")
    async with newcomer.waiting():
        assert newcomer.shown.isascii() and "\x1b" not in newcomer.shown
        assert max(map(len, newcomer.shown.splitlines())) <= 100


async def test_rejected_it_is_told_and_cut(broker):
    newcomer = Newcomer(broker, "new1")
    async with newcomer.waiting() as dialling:
        await in_database(reject_enrollment)(host=await newcomer.host(), actor=ADMIN)
        await told(broker)
        with pytest.raises(asyncssh.DisconnectError, match="enrollment of new1 was rejected"):
            await asyncio.wait_for(dialling, PATIENCE_S)


async def test_the_wait_ends(broker, monkeypatch):
    monkeypatch.setattr(pairing, "WAIT_S", 0.2)
    with pytest.raises(asyncssh.DisconnectError, match="nobody approved it in time"):
        await asyncio.wait_for(Newcomer(broker, "new1").dial(), PATIENCE_S)
    assert len(broker.pairing) == 0


async def test_a_stopping_broker_says_so():
    async with node() as broker:
        newcomer = Newcomer(broker, "new1")
        dialling = asyncio.create_task(newcomer.dial())
        await until(lambda: newcomer.shown and len(broker.pairing) == 1)
    with pytest.raises(asyncssh.DisconnectError, match="the broker is stopping"):
        await asyncio.wait_for(dialling, PATIENCE_S)


async def test_waiting_costs_no_place_of_those_who_log_in_and_is_not_pressed_for_time(broker, monkeypatch):
    monkeypatch.setattr(door, "LOGIN_GRACE_S", 3)
    newcomer = Newcomer(broker, "new1")
    async with newcomer.waiting() as dialling:
        await until(lambda: broker.gateway.unauthenticated == 0)
        await asyncio.sleep(3.2)
        assert not dialling.done() and len(broker.pairing) == 1
    await until(lambda: broker.gateway.connections == 0 and len(broker.pairing) == 0)
    assert broker.gateway.unauthenticated == 0


async def test_who_vanishes_gives_its_place_up_and_stays_pending(broker):
    newcomer = Newcomer(broker, "new1")
    async with newcomer.waiting():
        host = await newcomer.host()
    await until(lambda: len(broker.pairing) == 0)
    assert (await newcomer.host()).state == State.PENDING
    async with newcomer.waiting():
        assert (await newcomer.host()).pk == host.pk
    assert (await in_database(events)()).count("enrollment.requested") == 1


async def test_a_waiting_client_may_ask_for_nothing(broker):
    """It is not logged in: a request of the connection protocol ends the connection."""
    newcomer = Newcomer(broker, "new1")
    newcomer.client = client = Eager()
    async with newcomer.waiting() as dialling:
        client.send(80, String("tcpip-forward") + Boolean(True) + String("localhost") + UInt32(0))
        await is_cut(dialling)
    await until(lambda: broker.gateway.connections == 0 and len(broker.pairing) == 0)
    assert await in_database(events)() == ["enrollment.requested"]


async def test_a_new_try_in_the_same_connection_ends_the_wait_and_the_clock_runs_again(broker, monkeypatch):
    newcomer = Newcomer(broker, "new1")
    newcomer.client = client = Eager()
    async with newcomer.waiting() as dialling:
        monkeypatch.setattr(door, "LOGIN_GRACE_S", 0.5)
        client.send(50, String("new1") + String("ssh-connection") + String("none"))
        await is_cut(dialling)
    await until(lambda: broker.gateway.connections == 0 and len(broker.pairing) == 0)
    assert broker.gateway.unauthenticated == 0


# Bounds


async def test_only_so_many_wait(broker, monkeypatch):
    monkeypatch.setattr(pairing, "MAX_WAITING", 2)
    async with Newcomer(broker, "new1").waiting(), Newcomer(broker, "new2").waiting():
        third = Newcomer(broker, "new3")
        with pytest.raises(asyncssh.PermissionDenied):
            await third.dial()
        assert "too many machines are waiting for approval" in third.shown
        assert await in_database(Host.objects.count)() == 2


async def test_only_so_many_wait_from_one_address(broker, monkeypatch):
    monkeypatch.setattr(pairing, "MAX_WAITING_OF_SOURCE", 1)
    async with Newcomer(broker, "new1").waiting():
        second = Newcomer(broker, "new2")
        with pytest.raises(asyncssh.PermissionDenied):
            await second.dial()
        assert "too many machines of your address" in second.shown
        async with Newcomer(broker, "new3", local_addr=("127.9.9.9", 0)).waiting():
            assert len(broker.pairing) == 2


async def test_requests_of_one_address_are_slowed_down_as_over_rest(broker, monkeypatch):
    monkeypatch.setattr(pairing, "throttle", Throttle(burst=1, refill_s=1000))
    async with Newcomer(broker, "new1").waiting():
        second = Newcomer(broker, "new2")
        with pytest.raises(asyncssh.PermissionDenied):
            await second.dial()
        assert "too many enrollment requests from 127.0.0.1; try again in" in second.shown
        assert await in_database(Host.objects.count)() == 1


@pytest.mark.parametrize(
    ("limit", "said"), [("MAX_PENDING", "too many machines are"), ("MAX_PENDING_OF_SOURCE", "of your")]
)
async def test_the_queue_of_approvals_is_bounded_as_over_rest(broker, monkeypatch, limit, said):
    monkeypatch.setattr(enrollment, limit, 1)
    first, second = Newcomer(broker, "new1"), Newcomer(broker, "new2")
    async with first.waiting():
        with pytest.raises(asyncssh.PermissionDenied):
            await second.dial()
    assert said in second.shown
    assert await in_database(events)() == ["enrollment.requested", "!enrollment.refused"]


# Who may


async def test_a_refused_key_leaves_the_client_its_others(broker):
    """Of a host that offers another key first: the name is taken, by itself."""
    web1 = await in_database(make_machine)("web1")
    await broker.directory.reload()
    other = asyncssh.generate_private_key("ssh-ed25519")
    client = Client()
    async with await asyncssh.connect(
        "127.0.0.1",
        broker.gateway.port,
        username="web1",
        client_factory=lambda: client,
        client_keys=[other, web1.key],
        known_hosts=None,
        config=None,
        agent_path=None,
    ) as connection:
        await connection.forward_remote_port("localhost", 0, "127.0.0.1", 9)
    assert "the name web1 is taken by another machine" in "".join(client.banners)
    assert "enrollment.requested" not in await in_database(events)()


async def test_names_of_people_are_not_for_machines(broker):
    await in_database(create_person)(name="alice", password="correct horse battery", actor=OPERATOR)
    await broker.people.keyring.reload()
    for name in ("alice", "root@web1", "alice/web1"):
        person = Newcomer(broker, name)
        with pytest.raises(asyncssh.PermissionDenied):
            await person.dial()
        assert person.shown == ""
    assert await in_database(Host.objects.count)() == 0


async def test_weak_keys_are_refused_with_the_reason(broker):
    weak = Newcomer(broker, "new1")
    weak.key = asyncssh.generate_private_key("ssh-rsa", key_size=1024)
    with pytest.raises(asyncssh.PermissionDenied):
        await weak.dial()
    assert "too weak" in weak.shown


async def test_an_offered_key_is_not_enrolled(broker):
    """Shown without a signature, it is told how to go on, and nothing is written."""
    pair = asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])[0]
    pair.public_data = asyncssh.generate_private_key("ssh-ed25519").public_data  # offers one, and signs with another
    with pytest.raises(asyncssh.PermissionDenied):
        await broker.connect(pair, "new1")
    assert await in_database(Host.objects.count)() == 0
    assert await in_database(AuditEvent.objects.count)() == 0


async def test_closed_by_the_setting(broker, settings):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=False)
    newcomer = Newcomer(broker, "new1")
    with pytest.raises(asyncssh.PermissionDenied):
        await newcomer.dial()
    assert newcomer.shown == "" and await in_database(Host.objects.count)() == 0


async def test_who_enrolled_over_rest_does_not_wait_here(broker):
    machine = await in_database(make_machine)("web2", State.PENDING)
    await broker.directory.reload()
    connection = await broker.connect(machine.key, "web2")
    await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)


async def test_a_broken_database_ends_this_try_and_nothing_else(broker, monkeypatch, caplog):
    monkeypatch.setattr(pairing, "request_pairing", lambda **facts: 1 / 0)
    with pytest.raises(asyncssh.DisconnectError, match="internal error, retry after 30 s"):
        await Newcomer(broker, "new1").dial()
    assert "pairing failed" in caplog.text
    assert len(broker.pairing) == 0


# The host's keys


@asynccontextmanager
async def paired(broker: Node, name: str, to: int) -> AsyncIterator[Host]:
    """A machine that enrolled over SSH, approved and with its tunnel to `to`."""
    machine = await in_database(make_machine)(name)
    await in_database(Host.objects.filter(pk=machine.host.pk).update)(host_keys=[])
    await broker.directory.reload()
    async with broker.agent(machine, to=to):
        yield machine.host


async def test_the_keys_that_it_proves_to_hold_are_pinned(broker):
    async with fake_host() as sshd, paired(broker, "web1", sshd.port) as host:
        await recorded("host.key_pinned")
        await in_database(host.refresh_from_db)()
        assert host.host_keys == [" ".join(sshd.key_line.split()[:2])]
        entry = await in_database(AuditEvent.objects.get)(event="host.key_pinned")
        assert entry.detail["fingerprints"] == [sshd.key.get_fingerprint()]
        await until(lambda: broker.directory.by_id(host.pk).is_pinned)


async def test_it_is_tried_again_until_the_ssh_server_answers(broker, monkeypatch):
    monkeypatch.setattr(pinning, "FIRST_RETRY_S", 0.02)
    tried: list[int] = []
    read = pinning.read_host_keys

    async def later(tunnel: Any) -> list[str]:
        tried.append(1)
        return await read(tunnel) if len(tried) > 3 else []

    monkeypatch.setattr(pinning, "read_host_keys", later)
    async with fake_host() as sshd, paired(broker, "web1", sshd.port):
        await until(lambda: len(tried) == 4)


async def test_an_unreachable_server_gives_none(broker):
    async with paired(broker, "web1", 9) as host:
        live = broker.registry.get(host.pk)
        assert await pinning.read_host_keys(live) == []
    await until(lambda: not broker.desk._tasks)


async def test_the_agents_own_key_is_not_pinned(broker):
    async with fake_host() as sshd, paired(broker, "web1", 9) as host:
        await in_database(Host.objects.filter(pk=host.pk).update)(public_key=" ".join(sshd.key_line.split()[:2]))
        await in_database(pinning._pin)(broker.registry.get(host.pk), [" ".join(sshd.key_line.split()[:2])])
        assert "host.key_pinned" not in await in_database(events)()


async def test_keys_are_pinned_once(broker):
    machine = await in_database(make_machine)("web1")
    with pytest.raises(Conflict):
        await in_database(enrollment.pin_host_keys)(host=machine.host, lines=["x"], address="127.0.0.1")


# The tunnel port


async def unpinned(broker: Node, name: str) -> Any:
    machine = await in_database(make_machine)(name)
    await in_database(Host.objects.filter(pk=machine.host.pk).update)(host_keys=[])
    await broker.directory.reload()
    return machine


async def test_a_new_host_may_name_a_free_port_once(broker):
    machine = await unpinned(broker, "web1")
    async with broker.agent(machine, port=22950):
        assert broker.directory.by_id(machine.host.pk).facts.tunnel_port == 22950
        assert broker.directory.holds(port=22950) and not broker.directory.holds(port=machine.port)
    connection = await broker.connect(machine.key)
    with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError)):
        await connection.forward_remote_port("localhost", 22951, "127.0.0.1", 9)
    connection.abort()
    await in_database(machine.host.refresh_from_db)()
    assert machine.host.tunnel_port == 22950
    assert "!setting.changed" not in await in_database(events)()


@pytest.mark.parametrize("port", [22, 22099, 23100])
async def test_no_port_out_of_the_range(broker, port):
    machine = await unpinned(broker, "web1")
    connection = await broker.connect(machine.key)
    with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError)):
        await connection.forward_remote_port("localhost", port, "127.0.0.1", 9)
    await in_database(machine.host.refresh_from_db)()
    assert machine.host.tunnel_port == machine.port
    assert "!setting.changed" not in await in_database(events)()


async def test_a_port_taken_at_the_same_moment_is_refused(broker):
    """The directory is a moment behind: the act has the last word."""
    machine, other = await unpinned(broker, "web1"), await in_database(make_machine)("web2")
    connection = await broker.connect(machine.key)
    with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError)):
        await connection.forward_remote_port("localhost", other.port, "127.0.0.1", 9)
    await recorded("tunnel.refused")
    assert await in_database(events)() == ["!setting.changed", "!tunnel.refused"]
