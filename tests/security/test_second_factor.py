"""Where a second factor is required, at the real gateway: no ordinary key or API token does; a FIDO key does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import sk_eddsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.needs import missing
from tests.story.broker import SCALE, Broker, running
from tests.story.client import Client, known_client
from tests.story.machine import LOGIN, SSHD, Machine, machine

pytestmark = pytest.mark.sshd
TOUCHED = 0x01
PERSON = "alice"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not Path(SSHD).exists():
        missing(f"{SSHD} is missing: install the Debian package openssh-server")
    with running(tmp_path_factory.mktemp("factor") / "data") as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Of which a second factor is required."""
    with machine(tmp_path_factory.mktemp("machines"), "safe1", broker) as made:
        rights = ["terminal", "exec", "sftp", "forward"]
        made.bring_up({"person": PERSON, "logins": [LOGIN], "capabilities": rights})
        broker.api("PUT", "/hosts/safe1/second-factor", {"required": True})
        yield made


@pytest.fixture(scope="module")
def alice(broker: Broker, host: Machine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return known_client(tmp_path_factory.mktemp("alice"), broker, PERSON, [host])


class SecurityKey:
    """A FIDO key in software: what it signs is what a real one does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flags = TOUCHED
        self._secret = Ed25519PrivateKey.generate()
        public = self._secret.public_key().public_bytes_raw()
        self.key = sk_eddsa._SKEd25519Key(public, "ssh:", TOUCHED, b"handle", b"")
        monkeypatch.setattr(sk_eddsa, "sk_sign", self._sign)

    @property
    def line(self) -> str:
        return str(self.key.export_public_key("openssh").decode().strip())

    def _sign(self, data: bytes, application: bytes, handle: bytes, flags: int) -> tuple[int, int, bytes, bytes]:
        told = sha256(b"ssh:").digest() + struct.pack(">BI", self.flags, 7) + sha256(data).digest()
        return self.flags, 7, self._secret.sign(told), data


@pytest.fixture
async def security_key(broker: Broker, host: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SecurityKey:
    made = SecurityKey(monkeypatch)
    path = tmp_path / "sk.pub"
    path.write_text(f"{made.line} alice's token\n")
    broker.manage("add_key", PERSON, str(path))
    async with asyncio.timeout(60 * SCALE):
        while not await is_known(broker, made):
            await asyncio.sleep(0.5)
    return made


async def is_known(broker: Broker, key: SecurityKey) -> bool:
    """Whether the gateway has heard of it by now."""
    with contextlib.suppress(asyncssh.PermissionDenied):
        async with connect(broker, key, PERSON):
            return True
    return False


def connect(broker: Broker, key: SecurityKey, username: str) -> Any:
    return asyncssh.connect(
        "127.0.0.1",
        broker.ssh_port,
        username=username,
        client_keys=[key.key],
        known_hosts=None,
        config=None,
        agent_path=None,
        preferred_auth="publickey",
    )


@pytest.mark.parametrize("way", ["terminal", "command", "transfer", "end to end"])
def test_an_ordinary_key_is_refused_and_the_client_prints_why(alice: Client, host: Machine, way: str):
    to = f"{LOGIN}@{host.name}"
    done = {
        "terminal": lambda: alice.ssh(to, options=("-tt",)),
        "command": lambda: alice.ssh(to, "uptime"),
        "transfer": lambda: alice.ssh(to, "sftp", options=("-s",)),
        "end to end": lambda: alice.end_to_end(f"{LOGIN}@{host.name}", "uptime"),
    }[way]()
    assert done.returncode == 255
    told = (done.stdout + done.stderr).decode()
    assert f"a second factor is required on {host.name}, which this key cannot give" in told


def test_an_api_token_is_refused_with_the_reason(broker: Broker, host: Machine):
    answer = broker.call("POST", "/api/v1/sessions", {"host": host.name, "login": LOGIN}, PERSON)
    assert answer.status == 403
    assert answer.json["type"] == "/problems/second-factor-required"
    assert "which an API token cannot give" in answer.json["detail"]
    refused = broker.audit("session.refused")[-1]
    assert (refused["person"], refused["host"]) == (PERSON, host.name)


async def test_a_security_key_that_was_touched_comes_in(broker: Broker, host: Machine, security_key: SecurityKey):
    async with connect(broker, security_key, f"{LOGIN}@{host.name}") as connection:
        assert (await connection.run("echo in")).stdout == "in\n"
    async with connect(broker, security_key, PERSON) as connection:
        reader, writer = await connection.open_connection(host.name, 22)
        assert (await reader.readline()).startswith(b"SSH-2.0")
        writer.close()


async def test_without_a_touch_it_proves_nothing(broker: Broker, host: Machine, security_key: SecurityKey):
    security_key.flags = 0
    with pytest.raises(asyncssh.PermissionDenied):
        async with connect(broker, security_key, f"{LOGIN}@{host.name}"):
            pass


def test_a_machine_enrolls_with_none(broker: Broker, security_key: SecurityKey):
    body = {"name": "touch1", "public_key": SecurityKey(pytest.MonkeyPatch()).line, "host_keys": [], "login": "pi"}
    answer = broker.call("POST", "/api/v1/enrollments", body, source="127.9.9.9")
    assert answer.status == 422
    assert "has to be touched each time" in answer.json["detail"]
