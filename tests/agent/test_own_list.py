"""A machine with a list of keys of its own: who gets in, through a real tunnel, whatever the broker signs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.account import own_account
from tunnels.agent.keylist import KeyList
from tunnels.agent.session import Sessions
from tunnels.agent.shell import OWN_LIST, ListGuard, LoginShell
from tunnels.agent.tunnel import hold_tunnel

from .conftest import broker_of
from .stand_in import QUICK, Gateway, line_of
from .waiting import until


@dataclass
class Machine:
    gateway: Gateway
    file: Path
    warnings: list[str]

    def admit(self, *lines: str) -> None:
        self.file.write_text("".join(f"{line}\n" for line in lines))

    async def connect(self, key: asyncssh.SSHKey | tuple, **options: object) -> asyncssh.SSHClientConnection:
        return await self.gateway.connect(client_keys=[key], **options)


@pytest.fixture
def alice() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519", comment="alice@laptop")


@pytest.fixture
async def machine(
    gateway: Gateway, sessions: Sessions, tmp_path: Path, alice: asyncssh.SSHKey
) -> AsyncIterator[Machine]:
    made = Machine(gateway, tmp_path / "keys", [])
    made.admit(line_of(alice))
    keys = KeyList(made.file, own_account().login, line_of(gateway.authority), made.warnings.append)
    service = LoginShell(asyncssh.generate_private_key("ssh-ed25519"), ListGuard(keys), sessions)
    key = asyncssh.generate_private_key("ssh-ed25519")
    up = asyncio.Event()
    holding = asyncio.create_task(hold_tunnel(broker_of(gateway), key, service, pace=QUICK, on_up=up.set))
    await until(up.is_set, "both ends know of the forward")
    yield made
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_who_is_on_it_gets_in_and_others_do_not(machine: Machine, alice: asyncssh.SSHKey) -> None:
    async with await machine.connect(alice) as conn:
        assert (await conn.run("echo hello")).stdout == "hello\n"
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(alice, username="somebody")


async def test_the_brokers_certificates_open_nothing_and_it_says_why(machine: Machine) -> None:
    with pytest.raises(asyncssh.PermissionDenied, match=OWN_LIST):
        await machine.gateway.log_in()
    with pytest.raises(asyncssh.PermissionDenied, match=OWN_LIST):
        await machine.gateway.log_in(username="somebody")


async def test_nor_do_they_for_somebody_who_is_on_the_list(machine: Machine, alice: asyncssh.SSHKey) -> None:
    """The broker may sign alice's own public key: without her private key that is worth nothing, with it not needed."""
    certificate = machine.gateway.certificate(alice)
    with pytest.raises(asyncssh.PermissionDenied, match=OWN_LIST):
        await machine.connect((alice, certificate))


async def test_nor_when_the_list_itself_names_the_brokers_authority(machine: Machine, alice: asyncssh.SSHKey) -> None:
    authority = line_of(machine.gateway.authority)
    machine.admit(line_of(alice), f"cert-authority {authority}", authority)
    with pytest.raises(asyncssh.PermissionDenied, match=OWN_LIST):
        await machine.gateway.log_in()
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(machine.gateway.authority)
    assert len(machine.warnings) == 4
    async with await machine.connect(alice):
        pass


async def test_a_change_of_the_file_holds_at_once(machine: Machine, alice: asyncssh.SSHKey) -> None:
    bob = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    machine.admit(line_of(bob))
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(alice)
    async with await machine.connect(bob):
        pass
    machine.file.unlink()
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(bob)
    assert "nobody gets in" in machine.warnings[-1]


async def test_options_of_a_line_are_kept(machine: Machine, alice: asyncssh.SSHKey) -> None:
    machine.admit(f'restrict,command="echo forced" {line_of(alice)}')
    async with await machine.connect(alice) as conn:
        assert (await conn.run("echo free")).stdout == "forced\n"
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.create_process(term_type="xterm")
        with pytest.raises(asyncssh.SFTPError):
            await conn.start_sftp_client()
    machine.admit(f'expiry-time="20200101" {line_of(alice)}')
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(alice)


async def test_an_authority_of_the_machines_own_counts_for_its_login(machine: Machine, alice: asyncssh.SSHKey) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    machine.admit(f"cert-authority {line_of(authority)}")
    good = authority.generate_user_certificate(alice, "alice", principals=[own_account().login])
    async with await machine.connect((alice, good)):
        pass
    for principals in (["somebody"], []):
        bad = authority.generate_user_certificate(alice, "alice", principals=principals)
        with pytest.raises(asyncssh.PermissionDenied):
            await machine.connect((alice, bad))
