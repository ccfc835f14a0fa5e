"""The gateway's doors, attacked: by floods, by silence, by tries, and by those whom it has let in.

Attackers come from loopback addresses of their own, so that each is a source; honest people come from 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32
from django.db.backends.utils import CursorWrapper

from brokerd import door
from brokerd import gateway as gateway_module
from brokerd.door import MAX_REQUESTS
from brokerd.entry import Entry, EntryLimits
from brokerd.meter import MAX_BEFORE_LOGIN
from brokerd.process import FILES, _raise_file_limit
from terminals.keys import add_key
from terminals.models import Person
from tests.core.agent import Machine, in_database, make_machine, node
from tests.core.waiting import Clock, until
from tests.security.wire import VERSION, addresses, dial, greeting, rest, send
from tests.story.broker import Broker, running
from tests.story.broker import until as eventually
from tests.story.client import Client, client_without_a_try
from tunnels import presence
from tunnels.audit import OPERATOR
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)
MEGABYTE = 1024 * 1024
EXCEEDED, NOT_ALLOWED = b"Exceeded MaxStartups\r\n", b"Not allowed at this time\r\n"
WELCOME = b"SSH-2.0-brokerd\r\n"
PROVE, SUCCESS, FAILURE = b"hostkeys-prove-00@openssh.com", 81, 82
"""OpenSSH's PROTOCOL, section 2.5; RFC 4254 section 4."""
PATIENCE_S = 15.0
"""For an honest login, on a machine that runs other tests as well, and half of what a silent stranger is given; alone
it takes a quarter of a second."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("doors") / "data") as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def alice(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """At a place from where she has logged in before."""
    return client_without_a_try(tmp_path_factory.mktemp("alice"), broker)


@pytest.fixture
def web1(db: None) -> Machine:
    return make_machine("web1")


def login_s(alice: Client) -> float:
    """How long it takes her to log in and have an answer."""
    begun = time.monotonic()
    done = alice.ssh("alice")
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begun


def refusals(broker: Broker) -> list[dict[str, Any]]:
    """Penalties on record."""
    return [event for event in broker.audit("tunnel.refused") if not event["host"]]


# Floods


def test_two_hundred_silent_connections(broker: Broker, alice: Client):
    """Half of them are turned away at once; the others cost memory until the grace is over."""
    login_s(alice)
    before = broker.rss()
    with ExitStack() as stack:
        for source in addresses(2, 20):
            for _ in range(10):
                stack.enter_context(dial(broker.ssh_port, source))
        taken = [login_s(alice) for _ in range(5)]
        grown = broker.rss() - before
        print(f"200 silent connections: {grown / MEGABYTE:.1f} MB, honest login {max(taken):.2f} s at most")
        assert grown < 10 * MEGABYTE
        assert max(taken) < PATIENCE_S


def test_a_flood_of_strangers_does_not_keep_out_who_was_here_before(broker: Broker, alice: Client):
    """Every place of strangers is taken: another stranger is turned away, alice has places that they cannot take."""
    with ExitStack() as stack:
        welcomed = 0
        for number, source in enumerate(addresses(3, 3000)):
            peer = dial(broker.ssh_port, source)
            if greeting(peer) != WELCOME:
                peer.close()
            else:
                stack.enter_context(peer)
                welcomed += 1
            if number > 300 and welcomed >= 100:
                break
        # Some of an earlier flood may still be there, and have gone meanwhile: so it is said who is turned away now.
        turned_away = [greeting(stack.enter_context(dial(broker.ssh_port, "127.4.0.1"))) for _ in range(20)]
        assert turned_away.count(EXCEEDED) >= 19
        assert login_s(alice) < PATIENCE_S


async def test_one_source_cannot_take_the_places_of_others(web1: Machine):
    async with node(entry=Entry(EntryLimits(drop_from=100))) as broker:
        port = broker.gateway.port

        async def knock(source: str) -> tuple[bytes, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            return await reader.readline(), writer

        held = [await knock("127.0.5.1") for _ in range(30)]
        assert [line for line, _ in held] == [WELCOME] * 20 + [EXCEEDED] * 10
        assert (await knock("127.0.5.2"))[0] == WELCOME
        for _, writer in held:
            writer.close()


async def test_a_login_gives_its_place_back(web1: Machine):
    """Agents by the hundred at one address hold none of those places."""
    async with node(entry=Entry(EntryLimits(of_source=1, of_known_source=1))) as broker:
        for _ in range(3):
            await broker.connect(web1.key)
        await until(lambda: broker.gateway.connections == 3 and broker.gateway.unauthenticated == 0)


def test_after_a_restart_it_still_knows_from_where_people_come(broker: Broker, alice: Client):
    """All agents come back at once then, and a flood may be there as well."""
    login_s(alice)
    broker.stop()
    broker.start()
    with ExitStack() as stack:
        told = [greeting(stack.enter_context(dial(broker.ssh_port))) for _ in range(60)]
    assert told == [WELCOME] * 60, "three times as many as strangers of one source may be"
    login_s(alice)


def test_a_flood_does_not_meet_the_usual_limit_of_open_files_first():
    """1024 on many systems: accepting would fail then, for everybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        _raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(FILES, hard) > 1024
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_refusal_costs_next_to_nothing(broker: Broker):
    """A penalised source may knock as often as it likes: a thousand refusals are less work than twenty logins."""
    source = "127.6.0.1"
    begun, refused = cpu_s(broker), 0
    for _ in range(1010):
        with dial(broker.ssh_port, source) as peer:
            if greeting(peer) == NOT_ALLOWED:
                refused += 1
            else:  # the first one; or a penalty is over, on a machine that is slow
                send(peer, b"GET / HTTP/1.1\r\n\r\n")
                rest(peer)
    spent = cpu_s(broker) - begun
    assert refused >= 1000
    print(f"1000 refusals: {spent:.2f} s of the processor")
    assert spent < 2


def cpu_s(broker: Broker) -> float:
    assert broker.process
    fields = Path(f"/proc/{broker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


# Penalties


def test_what_is_no_ssh_is_refused_for_a_while_and_on_record_once(broker: Broker):
    source = "127.7.0.1"
    for _ in range(3):
        with dial(broker.ssh_port, source) as peer:
            send(peer, b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n")
            rest(peer)
    with dial(broker.ssh_port, source) as peer:
        assert greeting(peer) == NOT_ALLOWED
        assert rest(peer) == b"", "no version, no key exchange"
    (event,) = eventually(
        lambda: [event for event in refusals(broker) if event["address"] == source], "it is on record"
    )
    assert event["outcome"] == "refused"
    assert "something else than SSH" in event["detail"]["reason"] and "15 s" in event["detail"]["reason"]


async def test_who_fails_three_times_is_refused(web1: Machine, monkeypatch: pytest.MonkeyPatch):
    """Soon after each other: what is held against a source wears off."""
    monkeypatch.setattr(gateway_module, "time", SimpleNamespace(monotonic=Clock()))
    async with node() as broker:
        stranger = asyncssh.generate_private_key("ssh-ed25519")
        for _ in range(3):
            with pytest.raises(asyncssh.PermissionDenied):
                await broker.connect(stranger, local_addr=("127.0.8.1", 0))
        with pytest.raises((asyncssh.Error, OSError)) as refused:
            await broker.connect(web1.key, local_addr=("127.0.8.1", 0))
        assert not isinstance(refused.value, asyncssh.PermissionDenied)
        assert broker.gateway.entry.refused == {"penalty": 1}
        async with await broker.connect(web1.key, local_addr=("127.0.8.2", 0)):
            pass


async def test_who_was_only_silent_twice_is_refused(web1: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(door, "LOGIN_GRACE_S", 0.05)
    async with node() as broker:
        for _ in range(2):
            reader, _ = await asyncio.open_connection("127.0.0.1", broker.gateway.port)
            await asyncio.wait_for(reader.read(), PATIENCE_S)
        await until(lambda: broker.gateway.entry.penalties == 1)
        reader, _ = await asyncio.open_connection("127.0.0.1", broker.gateway.port)
        assert await reader.readline() == NOT_ALLOWED


async def test_a_machine_that_waits_for_its_approval_is_held_nothing_against(web1: Machine):
    """Pending, and dialling all the time: its key is known and proved, it has only not been let in yet."""
    pending = await in_database(make_machine)("web2", "pending")
    async with node() as broker:
        for _ in range(20):
            connection = await broker.connect(pending.key, "web2")
            await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)
        assert broker.gateway.entry.penalties == 0 and not broker.gateway.entry.refused


async def test_a_flood_from_everywhere_cannot_fill_the_audit(web1: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gateway_module, "PENALTIES_NOTED", 5)
    async with node() as broker:
        for source in addresses(9, 40):
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.gateway.port, local_addr=(source, 0))
            writer.write(b"\0" * 9000)
            await asyncio.wait_for(reader.read(), PATIENCE_S)
        await until(lambda: broker.gateway.entry.penalties == 40)
        await until(lambda: not broker.desk._tasks)
    assert await in_database(AuditEvent.objects.count)() == 5


# Before the login


async def test_no_database_stands_in_the_way_before_a_login(web1: Machine, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    execute = CursorWrapper.execute

    def note(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        asked.append(sql)
        return execute(self, sql, params)

    async with node() as broker:
        monkeypatch.setattr(CursorWrapper, "execute", note)
        pair = asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])[0]
        pair.public_data = web1.key.public_data  # offers a known key, and signs with another one
        for key in (None, asyncssh.generate_private_key("ssh-ed25519"), pair):
            with pytest.raises(asyncssh.PermissionDenied):
                await broker.connect(key)
        assert asked == []
        async with broker.agent(web1):
            assert asked, "and a login is looked up"


class Flooder(asyncssh.SSHClient):
    """In place of a login it sends a packet that nobody asked for, again and again."""

    def __init__(self, kind: int, payload: bytes) -> None:
        self._packet = kind, payload
        self.sent = 0
        self.lost = asyncio.Event()

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    async def public_key_auth_requested(self) -> None:
        while not self.lost.is_set() and self.sent < 64 * MEGABYTE:
            self._connection.send_packet(*self._packet)
            self.sent += len(self._packet[1])
            await asyncio.sleep(0.001)


async def test_a_megabyte_is_enough_for_a_login(web1: Machine):
    """As IGNORE packets, which everybody may send at any time."""
    flooder = Flooder(2, String(b"x" * 32_000))
    async with node() as broker:
        with pytest.raises((asyncssh.Error, OSError)):
            async with asyncio.timeout(20):
                await broker.connect(None, client_factory=lambda: flooder, preferred_auth="publickey")
        await until(lambda: broker.gateway.connections == 0)
        assert MAX_BEFORE_LOGIN / 2 < flooder.sent < 16 * MAX_BEFORE_LOGIN, "what was under way comes on top"
        assert broker.gateway.entry.penalties == 1


async def test_after_the_login_nothing_is_counted(web1: Machine):
    async with node() as broker, broker.agent(web1) as agent:
        for _ in range(100):
            agent.send_packet(2, String(b"x" * 32_000))
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert broker.registry.get(web1.host.pk)


@pytest.mark.parametrize("grace_s", [0.5])
async def test_a_version_line_of_a_byte_a_second(web1: Machine, monkeypatch: pytest.MonkeyPatch, grace_s: float):
    """Slowloris: however long it goes on talking, the grace counts from the beginning."""
    monkeypatch.setattr(door, "LOGIN_GRACE_S", grace_s)
    async with node() as broker:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.gateway.port)

        async def drip() -> None:
            for byte in b"SSH-2.0-" + b"x" * 1000:
                writer.write(bytes([byte]))
                await asyncio.sleep(grace_s / 10)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(20):
            assert await reader.readline() == WELCOME
            with contextlib.suppress(ConnectionError):  # where a byte was on its way to who had gone
                assert await reader.read() == b""
        assert time.monotonic() - begun >= grace_s * 0.9
        dripping.cancel()
        await asyncio.wait([dripping])
        await until(lambda: broker.gateway.connections == 0)


@pytest.mark.parametrize("said", [b"", VERSION], ids=["nothing", "a version"])
async def test_who_never_reads_the_key_exchange_is_cut_in_time(
    web1: Machine, monkeypatch: pytest.MonkeyPatch, said: bytes
):
    """Its window is closed, so nothing of ours gets through, not even the end."""
    monkeypatch.setattr(door, "LOGIN_GRACE_S", 0.5)
    async with node() as broker:
        with dial(broker.gateway.port, receive=256) as peer:
            send(peer, said)
            await until(lambda: broker.gateway.connections == 1)
            await until(lambda: broker.gateway.connections == 0)


# Who was let in, and does not behave


async def test_key_exchanges_without_end(web1: Machine):
    """Each is a signature of ours; the peer pays next to nothing."""
    async with node() as broker:
        connection = await broker.connect(web1.key)
        demanded = 0
        async with asyncio.timeout(30):
            while not connection.is_closed():
                if connection._kex is None and connection._kex_complete:
                    connection._send_kexinit()
                    connection._kexinit_sent = True
                    demanded += 1
                await asyncio.sleep(0)
        assert door.EXCHANGES - 1 <= demanded < door.EXCHANGES + 30


async def test_a_client_that_changes_keys_often_is_served(web1: Machine):
    async with node() as broker, broker.agent(web1, rekey_bytes=100_000) as agent:
        for _ in range(50):
            agent.send_packet(2, String(b"x" * 32_000))
            await asyncio.sleep(0.01)
        assert agent._session_id and broker.registry.get(web1.host.pk)


async def test_requests_without_end_are_cut(web1: Machine, monkeypatch: pytest.MonkeyPatch):
    """A forward is written down before it is answered, and AsyncSSH lays all that is asked meanwhile aside."""
    monkeypatch.setattr(gateway_module, "WATCH_S", 0.05)
    go = threading.Event()
    monkeypatch.setattr(presence, "open_tunnel", lambda **facts: go.wait(20) and 1 / 0)
    async with node() as broker, await broker.connect(web1.key) as agent:
        await until(lambda: broker.gateway.connections == 1)
        (held,) = broker.gateway.doors
        piled = 0
        ask = String("tcpip-forward") + Boolean(True) + String("localhost") + UInt32(web1.port)
        for _ in range(400):
            for _ in range(100):
                agent.send_packet(80, ask)
            await asyncio.sleep(0)
            piled = max(piled, len(held._connection._global_request_queue))
            if agent.is_closed():
                break
        await asyncio.wait_for(agent.wait_closed(), PATIENCE_S)
        assert MAX_REQUESTS < piled < 40_000
        await until(lambda: broker.gateway.connections == 0)
        go.set()


@pytest.mark.parametrize("who", ["web1", "ann"])
async def test_proofs_of_our_keys_without_end(web1: Machine, who: str):
    """Each is a signature of ours: 4,000 in one request stopped everybody for half a second."""
    key = web1.key if who == "web1" else await in_database(key_of)("ann")
    async with node() as broker:
        await broker.people.keyring.reload()
        (ours,) = broker.gateway._keys
        named = String(ours.public_data)
        async with await broker.connect(key, who) as client:
            for times, answer in ((4000, FAILURE), (1, FAILURE)):
                assert (await client._make_global_request(PROVE, named * times))[0] == answer
            assert not client.is_closed()
        async with await broker.connect(key, who) as client:
            answers = [(await client._make_global_request(PROVE, named))[0] for _ in range(6)]
            assert answers == [SUCCESS] * 4 + [FAILURE] * 2


def key_of(name: str) -> asyncssh.SSHKey:
    """Of a person who is made for it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    add_key(person=Person.objects.create(username=name), text=key.export_public_key("openssh").decode(), actor=OPERATOR)
    return key


async def test_connections_of_one_key_without_end(web1: Machine, monkeypatch: pytest.MonkeyPatch):
    """An agent that asks for nothing would hold each of them for ever."""
    monkeypatch.setattr(gateway_module, "MAX_OF_ONE", 5)
    other = await in_database(make_machine)("web2")
    async with node() as broker:
        await broker.directory.reload()
        held = [await broker.connect(web1.key) for _ in range(5)]
        with pytest.raises(asyncssh.DisconnectError, match="too many connections"):
            await one_more(broker, web1)
        async with broker.agent(other):
            pass
        held[0].abort()
        await until(lambda: broker.gateway.held[web1.host.pk] == 4)
        async with broker.agent(web1):
            pass


async def one_more(broker: Any, machine: Machine) -> None:
    lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    class Watching(asyncssh.SSHClient):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    await broker.connect(machine.key, client_factory=Watching)
    if error := await asyncio.wait_for(lost, PATIENCE_S):
        raise error


async def as_alice(alice: Client) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        alice.broker.ssh_port,
        username="alice",
        client_keys=[str(alice.key)],
        known_hosts=None,
        config=None,
        agent_path=None,
    )


async def test_a_thousand_sessions_at_once(broker: Broker, alice: Client):
    before = broker.rss()
    async with await as_alice(alice) as connection:
        asked = [
            connection.create_session(asyncssh.SSHClientSession, encoding=None, request_pty=False) for _ in range(1000)
        ]
        refused = [
            answer
            for answer in await asyncio.gather(*asked, return_exceptions=True)
            if isinstance(answer, asyncssh.ChannelOpenError)
        ]
        assert len(refused) >= 980
        assert {error.reason for error in refused} == {"at most 10 sessions in one connection"}
    assert broker.rss() - before < 16 * MEGABYTE
    assert login_s(alice) < PATIENCE_S


async def test_an_environment_without_end(broker: Broker, alice: Client):
    """Variables are kept before anything is started; AsyncSSH takes any number of any size."""
    before = broker.rss()
    variables = {f"LC_{number}": "x" * 30_000 for number in range(2000)}
    async with await as_alice(alice) as connection:
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, encoding=None, env=variables)
        assert broker.rss() - before < 16 * MEGABYTE
        channel.close()
    assert login_s(alice) < PATIENCE_S


def test_a_zero_window_holds_nothing_up(broker: Broker, alice: Client):
    """Logged in, a list asked for, and never read: the others do not notice."""
    command = alice.command("alice")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as deaf:
        deaf.send_signal(19)  # SIGSTOP: its receive window fills, and stays so
        try:
            assert max(login_s(alice) for _ in range(3)) < PATIENCE_S
        finally:
            deaf.kill()
