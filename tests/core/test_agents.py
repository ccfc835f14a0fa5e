"""`tunnels.agents` and `brokerd.gateway`: the door for agents, over real SSH connections in this process."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest
from asyncssh.packet import Boolean, String

from brokerd import door
from brokerd import gateway as gateway_module
from brokerd.entry import EntryLimits
from tests.core.agent import in_database, make_machine, node, vanish_while_registering
from tests.core.waiting import PATIENCE_S, eventually, until
from tests.people.helpers import events
from tunnels import agents, presence
from tunnels.audit import Actor
from tunnels.errors import NotAllowed
from tunnels.hosts import revoke_host
from tunnels.models import AuditEvent, Host, State, Tunnel

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def web1(db):
    return make_machine("web1")


@pytest.fixture
async def broker(web1):
    async with node() as broker:
        yield broker


async def happened(*names: str) -> None:
    seen: list[str] = []

    async def look() -> bool:
        seen[:] = await in_database(events)()
        return seen == list(names)

    try:
        await eventually(look)
    except AssertionError:
        raise AssertionError(f"{seen} is not {list(names)}") from None


def row() -> Tunnel:
    return Tunnel.objects.get()


# The tunnel


async def test_an_approved_key_gets_its_own_tunnel_port_and_no_tcp_port_is_opened(broker, web1):
    async with broker.agent(web1):
        live = broker.registry.get(web1.host.pk)
        assert (live.listen_host, live.listen_port) == ("localhost", web1.port)
        assert (await in_database(row)()).closed_at is None
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", web1.port)
    await happened("tunnel.opened", "tunnel.closed")
    assert len(broker.registry) == 0
    assert (await in_database(row)()).reason.startswith("the agent ")


async def test_port_zero_answers_the_hosts_own_port(broker, web1):
    async with await broker.connect(web1.key) as connection:
        listener = await connection.forward_remote_port("localhost", 0, "127.0.0.1", 9)
        assert listener.get_port() == web1.port
        assert broker.registry.get(web1.host.pk).listen_port == web1.port


async def test_the_name_does_not_matter_the_key_does(broker, web1):
    async with await broker.connect(web1.key, "somebody-else") as connection:
        await connection.forward_remote_port("", web1.port, "127.0.0.1", 9)
        assert broker.registry.get(web1.host.pk)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("localhost", 22, "tunnel port 22 is not the one of web1"),
        ("localhost", 22099, "tunnel port 22099"),
        ("0.0.0.0", None, "bind address '0.0.0.0' is not localhost"),
        ("192.0.2.1", None, "bind address"),
    ],
)
async def test_any_other_forward_is_refused_and_on_record(broker, web1, host, port, reason):
    """Where it was the only one, the connection ends with the reason: stock clients show that without -v."""
    lost: list[Exception | None] = []

    class Client(asyncssh.SSHClient):
        def connection_lost(self, exc):
            lost.append(exc)

    async with await broker.connect(web1.key, client_factory=Client) as connection:
        with pytest.raises((asyncssh.ChannelListenError, asyncssh.Error)):
            await connection.forward_remote_port(host, port or web1.port, "127.0.0.1", 9)
        await happened("!tunnel.refused")
        entry = await in_database(AuditEvent.objects.latest)("sequence")
        assert reason in entry.detail["reason"] and entry.host == "web1"
        await until(lambda: broker.gateway.connections == 0)
    assert await in_database(Tunnel.objects.count)() == 0


async def test_the_good_one_of_two_forwards_is_granted_whichever_comes_first(broker, web1):
    for ports in ((22, web1.port), (web1.port, 22)):
        async with await broker.connect(web1.key) as connection:
            asked = [connection.forward_remote_port("localhost", port, "127.0.0.1", 9) for port in ports]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert [isinstance(result, asyncssh.ChannelListenError) for result in results] == [
                port == 22 for port in ports
            ]
            assert broker.registry.get(web1.host.pk)
            await asyncio.sleep(2 * agents.LAST_WORD_S)
            assert broker.registry.get(web1.host.pk), "and stays"
        await until(lambda: broker.gateway.connections == 0)


async def test_one_forward_per_connection(broker, web1):
    async with broker.agent(web1) as connection:
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("127.0.0.1", web1.port, "127.0.0.1", 9)
        assert len(broker.registry) == 1


async def test_an_agent_may_do_nothing_else(broker, web1):
    async with broker.agent(web1) as connection:
        for attempt in (
            lambda: connection.run("id"),
            lambda: connection.create_session(asyncssh.SSHClientSession),
            lambda: connection.start_sftp_client(),
            lambda: connection.open_connection("127.0.0.1", 22),
            lambda: connection.open_unix_connection("/run/x"),
        ):
            with pytest.raises(asyncssh.ChannelOpenError):
                await attempt()
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_path("/tmp/x", "/tmp/y")
        assert broker.registry.get(web1.host.pk), "none of it costs the tunnel (trap 7)"


async def test_giving_the_forward_back_ends_the_tunnel(broker, web1):
    async with await broker.connect(web1.key) as connection:
        listener = await connection.forward_remote_port("localhost", web1.port, "127.0.0.1", 9)
        listener.close()
        await until(lambda: len(broker.registry) == 0)
        await happened("tunnel.opened", "tunnel.closed")
        assert (await in_database(row)()).reason == "the agent took its forward back"


async def test_a_second_connection_replaces_the_first(broker, web1):
    async with broker.agent(web1) as first, broker.agent(web1):
        await asyncio.wait_for(first.wait_closed(), PATIENCE_S)
        await until(lambda: len(broker.registry) == 1 and broker.gateway.connections == 1)
        tunnel = await in_database(row)()
        assert (tunnel.epoch, tunnel.closed_at) == (2, None)
    await happened("tunnel.opened", "tunnel.closed", "tunnel.opened", "tunnel.closed")


async def test_a_revoked_host_loses_its_tunnel_and_is_turned_away(broker, web1):
    async with broker.agent(web1) as connection:
        await in_database(revoke_host)(host=web1.host, actor=Actor("admin"))
        await broker.directory.reload()
        broker.registry.enforce(broker.directory)
        await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)
    await happened("tunnel.opened", "host.revoked", "tunnel.closed")
    assert (await in_database(row)()).reason == "this host was revoked"
    again = await broker.connect(web1.key)
    await asyncio.wait_for(again.wait_closed(), PATIENCE_S)
    await happened("tunnel.opened", "host.revoked", "tunnel.closed", "!tunnel.refused")


# Who is let in


@pytest.mark.parametrize("state", [State.PENDING, State.REJECTED, State.REVOKED])
async def test_a_key_that_is_not_approved_is_turned_away_once_it_proved_itself(state, web1):
    other = await in_database(make_machine)("web2", state)
    async with node() as broker:
        for _ in range(3):
            connection = await broker.connect(other.key, "web2")
            await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)
        await happened("!tunnel.refused")  # agents try again for ever: the same refusal is told once
        assert await in_database(Tunnel.objects.count)() == 0


async def test_who_was_approved_a_moment_ago_by_another_process_is_let_in():
    other = await in_database(make_machine)("web2", "pending")
    async with node() as broker:
        await in_database(Host.objects.filter(name="web2").update)(state="approved")  # nobody tells the directory
        connection = await broker.connect(other.key, "web2")
        listener = await connection.forward_remote_port("localhost", 0, "127.0.0.1", 9)
        assert listener.get_port() == (await in_database(Host.objects.get)(name="web2")).tunnel_port
        connection.close()


async def test_strangers_stay_outside(broker):
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for key in (stranger, None):
        with pytest.raises(asyncssh.PermissionDenied):
            await broker.connect(key)
    with pytest.raises(asyncssh.PermissionDenied):
        await broker.connect(None, password="guess")
    await until(lambda: broker.gateway.connections == 0 and broker.gateway.unauthenticated == 0)


async def test_an_offered_key_proves_nothing(broker, web1, monkeypatch):
    """AsyncSSH asks for unsigned offers as well (trap 4): a key that is known but not held opens nothing."""
    welcomed = []
    monkeypatch.setattr(broker.desk, "welcome", lambda *args: welcomed.append(args))

    pair = asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])[0]
    pair.public_data = web1.key.public_data  # offers the known key, and signs with another one
    with pytest.raises(asyncssh.PermissionDenied):
        await broker.connect(pair)
    assert welcomed == []
    await happened()


async def test_tries_are_counted_whatever_their_method(broker, web1, monkeypatch):
    """AsyncSSH has no MaxAuthTries (trap 5)."""
    asked = []
    look = broker.directory.by_fingerprint
    monkeypatch.setattr(broker.directory, "by_fingerprint", lambda text: asked.append(text) or look(text))
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(20)]
    with pytest.raises((asyncssh.DisconnectError, asyncssh.PermissionDenied)):
        await asyncssh.connect(
            "127.0.0.1",
            broker.gateway.port,
            username="x",
            client_keys=keys,
            known_hosts=None,
            config=None,
            agent_path=None,
        )
    assert 0 < len(asked) <= door.MAX_TRIES
    asked.clear()
    async with await asyncssh.connect(
        "127.0.0.1",
        broker.gateway.port,
        username="x",
        client_keys=[*keys[:4], web1.key],
        known_hosts=None,
        config=None,
        agent_path=None,
    ):
        pass  # an honest client with a few keys in its agent


REQUESTS = {
    "none": b"",
    "nonsense": b"",
    "publickey": Boolean(False) + String("ssh-ed25519") + String(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)),
    "password": Boolean(False) + String("guess"),
    "keyboard-interactive": String("") + String(""),
}


class Hammer(asyncssh.SSHClient):
    """Logs in again and again, without waiting for an answer."""

    def __init__(self, method: str) -> None:
        self._method = method
        self.sent = 0
        self.lost = False

    def connection_made(self, conn) -> None:
        self._connection = conn

    def connection_lost(self, exc) -> None:
        self.lost = True

    async def public_key_auth_requested(self) -> None:
        while not self.lost and self.sent < 10_000:
            head = String(f"user{self.sent}") + String("ssh-connection") + String(self._method)
            self._connection.send_packet(50, head, REQUESTS[self._method])
            self.sent += 1
            await asyncio.sleep(0.001 if self.sent % 10 == 0 else 0)


@pytest.mark.parametrize("method", REQUESTS)
async def test_no_method_can_be_tried_without_end(broker, method):
    hammer = Hammer(method)
    with pytest.raises((asyncssh.Error, OSError)):
        async with asyncio.timeout(PATIENCE_S):
            await asyncssh.connect(
                "127.0.0.1",
                broker.gateway.port,
                client_factory=lambda: hammer,
                username="x",
                preferred_auth="publickey",
                known_hosts=None,
                config=None,
                agent_path=None,
            )
    assert hammer.lost and hammer.sent < 1000
    await until(lambda: broker.gateway.connections == 0)


async def test_only_so_many_may_stand_at_the_door(broker, web1, monkeypatch):
    monkeypatch.setattr(broker.gateway.entry, "limits", EntryLimits(strangers=3))
    idle = [await asyncio.open_connection("127.0.0.1", broker.gateway.port) for _ in range(3)]
    await until(lambda: broker.gateway.unauthenticated == 3)
    with pytest.raises((asyncssh.Error, OSError)):
        await broker.connect(web1.key)
    for _, writer in idle:
        writer.close()
    await until(lambda: broker.gateway.unauthenticated == 0)
    async with broker.agent(web1):
        assert broker.gateway.unauthenticated == 0 and broker.gateway.connections == 1


async def test_who_does_not_log_in_is_cut_in_time(web1, monkeypatch):
    monkeypatch.setattr(door, "LOGIN_GRACE_S", 0.1)
    async with node() as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.gateway.port)
        await asyncio.wait_for(reader.read(), PATIENCE_S)
        await until(lambda: broker.gateway.connections == 0)
        writer.close()


async def test_a_peer_that_does_not_read_is_cut(web1, monkeypatch):
    """AsyncSSH writes on whether or not the peer reads (trap 8)."""
    monkeypatch.setattr(door, "MAX_UNSENT", 1024 * 1024)
    monkeypatch.setattr(gateway_module, "WATCH_S", 0.05)
    async with node() as broker, broker.agent(web1) as connection:
        connection._transport.pause_reading()
        live = broker.registry.get(web1.host.pk)
        for _ in range(2000):
            live.connection.send_debug("x" * 16_000)
        await until(lambda: len(broker.registry) == 0 and broker.gateway.connections == 0)
        await happened("tunnel.opened", "tunnel.closed")
        assert (await in_database(row)()).reason == "the agent does not read what it is sent"


async def test_a_dead_link_is_noticed(web1):
    async with node(keepalive_s=0.2) as broker, broker.agent(web1) as connection:
        connection._transport.pause_reading()
        await until(lambda: len(broker.registry) == 0, "offline after three probes without an answer")
        await happened("tunnel.opened", "tunnel.closed")
        assert (await in_database(row)()).reason == "no sign of life from the agent"


# Refusals on record


async def test_an_agent_cannot_fill_the_audit_log(broker, web1, monkeypatch):
    monkeypatch.setattr(agents, "MAX_REFUSALS", 5)
    async with await broker.connect(web1.key) as connection:
        asked = [connection.forward_remote_port("localhost", port, "127.0.0.1", 9) for port in range(100, 140)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, asyncssh.ChannelListenError) for result in results[:-1])
    await until(lambda: not broker.desk._tasks)
    assert await in_database(AuditEvent.objects.filter(event="tunnel.refused").count)() == 5


async def test_the_same_refusal_is_told_again_after_a_while(broker, web1, monkeypatch):
    known = broker.directory.by_id(web1.host.pk)
    for repeat_s in (600, 600, -1):
        monkeypatch.setattr(agents, "REPEAT_S", repeat_s)
        broker.desk.refuse(known, "198.51.100.7", "no")
        await until(lambda: not broker.desk._tasks)
    await happened("!tunnel.refused", "!tunnel.refused")


# Races (trap 6) and failures (trap 7)


async def test_vanishing_while_the_tunnel_is_registered_leaks_nothing(broker, web1, monkeypatch):
    outcome = await vanish_while_registering(broker, web1, monkeypatch)
    assert isinstance(outcome, asyncssh.Error | asyncssh.ChannelListenError | OSError)
    assert len(broker.registry) == 0
    await happened("tunnel.opened", "tunnel.closed")
    assert (await in_database(row)()).closed_at is not None


async def test_a_refusal_in_the_database_is_told(broker, web1, monkeypatch):
    def refuse(**facts):
        raise NotAllowed("host web1 is revoked")

    monkeypatch.setattr(presence, "open_tunnel", refuse)
    async with await broker.connect(web1.key) as connection:
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("localhost", web1.port, "127.0.0.1", 9)
        assert len(broker.registry) == 0
    await happened("!tunnel.refused")


async def test_a_broken_database_ends_this_attempt_and_nothing_else(broker, web1, monkeypatch):
    other = await in_database(make_machine)("web2")
    await broker.directory.reload()
    async with broker.agent(other):
        monkeypatch.setattr(presence, "open_tunnel", lambda **facts: 1 / 0)
        async with await broker.connect(web1.key) as connection:
            with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError)):
                await connection.forward_remote_port("localhost", web1.port, "127.0.0.1", 9)
        await until(lambda: not [host for host in broker.registry.host_ids if host == web1.host.pk])
        assert broker.registry.get(other.host.pk)


async def test_a_failing_welcome_is_logged_and_closes_the_connection(broker, web1, monkeypatch, caplog):
    monkeypatch.setattr(broker.desk, "welcome", lambda *args: 1 / 0)
    connection = await broker.connect(web1.key)
    await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)
    assert "connection could not be welcomed" in caplog.text


async def test_leaving_writes_every_tunnel_down_as_closed(web1):
    async with node() as broker:
        connection = await broker.connect(web1.key)
        await connection.forward_remote_port("localhost", web1.port, "127.0.0.1", 9)
    assert (await in_database(row)()).reason == "the broker is stopping, retry after 5 s"
    await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)
    assert await in_database(Host.objects.with_presence().filter(online=True).count)() == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "the agent closed the connection"),
        (asyncssh.ConnectionLost("Client not responding to keepalive"), "no sign of life from the agent"),
        (asyncssh.ConnectionLost("Connection lost"), "the connection was cut"),
        (ConnectionResetError(104, "Connection reset by peer"), "the connection was cut"),
        (asyncssh.DisconnectError(11, "bye"), "the agent disconnected: bye"),
        (OSError("no buffer space"), "the connection broke: no buffer space"),
    ],
)
def test_why_a_connection_ended_in_words(error, said):
    assert agents.describe_loss(error) == said
