"""What is spoken at the gateway, attacked: garbage, lies, flipped bits, a man in the middle, weak algorithms.

Whatever is sent: the connection ends, the process lives, and honest people get in.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Byte, NameList, SSHPacket, UInt32

from tests.core.agent import Machine, make_machine, node
from tests.core.waiting import until
from tests.needs import missing
from tests.security.wire import (
    NEWKEYS,
    VERSION,
    addresses,
    between,
    dial,
    flip,
    greeting,
    packet,
    pour,
    rest,
    send,
    terrapin,
)
from tests.story.broker import SCALE, Broker, running
from tests.story.client import Client, client_without_a_try
from tunnels.algorithms import KEX, MAC_OF_DROPBEAR, MAC_OF_GATEWAY

pytestmark = pytest.mark.django_db(transaction=True)
FLIPS = 1000
AT_ONCE = 8
KEXINIT = 20
DROPBEAR = "dropbear_2022.83"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("wire") / "data") as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def alice(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return client_without_a_try(tmp_path_factory.mktemp("alice"), broker)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Broker]:
    """A broker that nobody has logged in to."""
    with running(tmp_path / "data") as running_broker:
        yield running_broker


@pytest.fixture
def web1(db: None) -> Machine:
    return make_machine("web1")


async def log_in(alice: Client, port: int, **options: Any) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        port,
        username="alice",
        client_keys=[str(alice.key)],
        known_hosts=None,
        config=None,
        agent_path=None,
        **options,
    )


# Nonsense


def kexinit(cookie: bytes = bytes(16), lists: int = 10) -> bytes:
    return packet(Byte(KEXINIT) + cookie + NameList([b"none"]) * lists + bytes(5))


def nonsense() -> dict[str, bytes]:
    """What is sent in place of a login."""
    dice = random.Random(20231218)
    noise = dice.randbytes(100_000)
    return {
        "noise": noise,
        "noise after a version": VERSION + noise,
        "noise after an exchange began": VERSION + kexinit() + noise,
        "a version of 9000 bytes": b"SSH-2.0-" + b"x" * 9000,
        "a version of 300 bytes": b"SSH-2.0-" + b"x" * 300 + b"\r\n",
        "a version that is no text": b"SSH-2.0-\xff\xfe\r\n",
        "version 1": b"SSH-1.5-old\r\n",
        "HTTP": b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
        "TLS": bytes.fromhex("160301020001000" + "1fc0303") + noise[:500],
        "a length of 4 GiB": VERSION + b"\xff\xff\xff\xff" + noise[:64],
        "a length of 1 MiB": VERSION + b"\x00\x10\x00\x00" + noise[:64],
        "a length of none": VERSION + bytes(64),
        "padding beyond the packet": VERSION + UInt32(12) + b"\xff" * 12,
        "no payload": VERSION + UInt32(12) + b"\x0b" + bytes(11),
        "a list that is longer than its packet": VERSION + packet(Byte(KEXINIT) + bytes(16) + b"\xff\xff\xff\xff"),
        "lists that are missing": VERSION + kexinit(lists=2),
        "nothing in common": VERSION + kexinit(),
        "a login without keys": VERSION + packet(Byte(50) + bytes(40)),
        "a channel without a login": VERSION + packet(Byte(90) + bytes(40)),
        "unknown packets": VERSION + packet(Byte(200) + bytes(40)) * 100,
    }


@pytest.mark.parametrize("what", nonsense())
def test_nonsense_ends_the_connection(broker: Broker, alice: Client, what: str):
    net = 20 + list(nonsense()).index(what)
    with dial(broker.ssh_port, f"127.{net}.0.1") as peer:
        assert greeting(peer) == b"SSH-2.0-brokerd\r\n"
        send(peer, nonsense()[what])
        rest(peer)
    assert alice.ssh("alice").returncode == 0


def test_a_length_that_never_comes_is_waited_for_no_longer_than_the_grace(hasty: Broker):
    """The largest packet that is allowed, of which nothing but the length is sent."""
    with dial(hasty.ssh_port, "127.0.0.9") as peer:
        send(peer, VERSION + b"\x00\x03\xff\xf0")
        rest(peer)


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path / "data", "-m", "tests.story.hasty") as running_broker:
        yield running_broker


async def test_a_thousand_flipped_bits(broker: Broker, alice: Client):
    """Of an honest login, at offsets that are the same each time: in the clear, in the keys, and encrypted."""
    login = await recorded(broker, alice)
    hidden = padding(login)
    offsets = [at for at in range(len(login)) if at not in hidden]
    dice = random.Random(1998)
    bits = sorted(8 * at + dice.randrange(8) for at in dice.sample(offsets, FLIPS))
    room = asyncio.Semaphore(AT_ONCE)
    survived: list[int] = []

    async def try_one(bit: int, source: str) -> None:
        async with room, between(broker.ssh_port, flip(bit), source) as port:
            try:
                async with asyncio.timeout(20 * SCALE):
                    connection = await log_in(alice, port)
            except (asyncssh.Error, OSError, ValueError):
                return
            survived.append(bit)
            connection.abort()

    await asyncio.gather(*(try_one(bit, source) for bit, source in zip(bits, addresses(60, FLIPS), strict=True)))
    # Whatever was changed, both sides signed what they had seen.
    assert survived == []
    assert broker.process and broker.process.poll() is None
    assert alice.ssh("alice").returncode == 0
    log = broker.log.read_text()
    assert "Traceback" not in log and "[error" not in log


async def recorded(broker: Broker, alice: Client) -> bytes:
    """What an honest client sends until it is logged in."""
    sent = bytearray()

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            sent.extend(data)
            writer.write(data)
        writer.close()

    async with between(broker.ssh_port, record) as port:
        connection = await log_in(alice, port)
        login = bytes(sent)
        connection.abort()
    assert len(login) > 2 * FLIPS
    return login


def padding(login: bytes) -> set[int]:
    """Where the bytes are that mean nothing and that nobody signs: at the end of packets in the clear."""
    at, kind, found = login.index(b"\n") + 1, 0, set[int]()
    while kind != NEWKEYS:
        end = at + 4 + int.from_bytes(login[at : at + 4], "big")
        kind = login[at + 5]
        found |= set(range(end - login[at + 4], end))
        at = end
    return found


# A man in the middle


@pytest.mark.parametrize(("inject", "drop"), [(True, False), (False, True), (True, True)])
async def test_terrapin(web1: Machine, inject: bool, drop: bool):
    """CVE-2023-48795. The numbers of packets agree where both are done, and yet nobody is let in."""
    async with node() as broker:
        async with between(broker.gateway.port, terrapin(inject=False, drop=False)) as port:
            (await dial_through(port, web1)).abort()
        await until(lambda: broker.gateway.connections == 0)
        async with between(broker.gateway.port, terrapin(inject=inject, drop=drop)) as port:
            with pytest.raises((asyncssh.Error, OSError)):
                async with asyncio.timeout(5):
                    await dial_through(port, web1)
        await until(lambda: broker.gateway.connections == 0)


async def test_what_is_said_before_the_keys_must_be_of_the_exchange(web1: Machine):
    """Strict key exchange: refused before anything could be dropped for it."""
    async with node() as broker, between(broker.gateway.port, terrapin(inject=True, drop=False)) as port:
        with pytest.raises(asyncssh.ProtocolError, match="Strict key exchange violation"):
            await dial_through(port, web1)


async def dial_through(port: int, machine: Machine, **options: Any) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        port,
        username=machine.host.name,
        client_keys=[machine.key],
        known_hosts=None,
        config=None,
        agent_path=None,
        **options,
    )


async def test_nobody_on_the_way_can_ask_for_dropbears_mac(web1: Machine):
    """The version line is signed with the rest."""

    async def pose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n")
        writer.write(f"SSH-2.0-{DROPBEAR}\r\n".encode())
        await pour(reader, writer)

    async with node() as broker, between(broker.gateway.port, pose) as port:
        with pytest.raises(asyncssh.Error):
            await dial_through(port, web1)


# Algorithms


async def test_encrypt_and_mac_is_for_dropbear_alone(web1: Machine):
    offered = {}
    async with node() as broker:
        for version in (DROPBEAR, "OpenSSH_9.2"):
            async with await dial_through(broker.gateway.port, web1, client_version=version) as connection:
                offer = SSHPacket(connection._server_kexinit)
                offer.get_bytes(17)
                offered[version] = [offer.get_namelist() for _ in range(6)][4:]
    both = [name.encode() for name in MAC_OF_GATEWAY]
    assert offered["OpenSSH_9.2"] == [both, both]
    both = [*both, MAC_OF_DROPBEAR.encode()]
    assert offered[DROPBEAR] == [both, both]


@pytest.mark.parametrize(
    "weak",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"kex_algs": ["diffie-hellman-group14-sha256"]},
        {"kex_algs": ["ecdh-sha2-nistp256"]},
        {"encryption_algs": ["aes256-cbc"]},
        {"encryption_algs": ["chacha20-poly1305@openssh.com"]},
        {"encryption_algs": ["aes128-ctr"], "mac_algs": ["hmac-sha1-etm@openssh.com"]},
        {"encryption_algs": ["aes128-ctr"], "mac_algs": ["umac-64-etm@openssh.com", "hmac-sha2-512"]},
        {"compression_algs": ["zlib@openssh.com"]},
        {"compression_algs": ["zlib"]},
    ],
    ids=str,
)
async def test_a_client_that_knows_the_weak_only_is_turned_away(web1: Machine, weak: dict[str, Any]):
    async with node() as broker:
        with pytest.raises(asyncssh.KeyExchangeFailed):
            await dial_through(broker.gateway.port, web1, **weak)


async def test_a_signature_by_sha1_is_not_taken(web1: Machine):
    async with node() as broker:
        with pytest.raises(asyncssh.PermissionDenied):
            await dial_through(broker.gateway.port, web1, signature_algs=["ssh-rsa"])


def test_ssh_audit_finds_nothing(stranger: Broker):
    """But that two exchanges are not post-quantum: old clients need them, and one that is is on offer.

    It also looks how many connections a stranger may make in a second (DHEat).
    """
    program = Path(sys.executable).parent / "ssh-audit"
    if not program.exists():
        missing("ssh-audit is missing: install requirements-dev.txt")
    done = subprocess.run(
        [program, "--json", "--port", str(stranger.ssh_port), "127.0.0.1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * SCALE,
    )
    found = json.loads(done.stdout)
    notes = {
        (algorithm["algorithm"], level, note)
        for kind in ("kex", "key", "enc", "mac")
        for algorithm in found[kind]
        for level in ("fail", "warn")
        for note in algorithm.get("notes", {}).get(level, [])
    }
    old = {("curve25519-sha256", "warn"), ("curve25519-sha256@libssh.org", "warn")}
    assert {(name, level) for name, level, _ in notes} == old
    assert {note for _, _, note in notes} == {"does not provide protection against post-quantum attacks"}
    assert {name for name in KEX if "mlkem" in name} <= {kex["algorithm"] for kex in found["kex"]}
    assert found["cves"] == [] and found["compression"] == ["none"]
    assert found["additional_notes"] == []
