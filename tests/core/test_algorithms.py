"""`tunnels.algorithms`: what is offered, in which order, and that a gateway really says so (trap 20)."""

from __future__ import annotations

import asyncssh
import pytest
from asyncssh.packet import SSHPacket

from tests.core.agent import make_machine, node
from tunnels.algorithms import ENCRYPTION, KEX, MAC, MAC_OF_DROPBEAR, MAC_OF_GATEWAY, SIGNATURES

WEAK = (
    "sha1",
    "cbc",
    "arcfour",
    "3des",
    "md5",
    "umac-64",
    "group1-",
    "group14",
    "group-exchange",
    "ecdh-sha2-nistp",
    "dss",
)


@pytest.mark.parametrize("name", [*KEX, *ENCRYPTION, *MAC, *SIGNATURES])
def test_nothing_weak(name):
    assert not any(weak in name for weak in WEAK) and name != "ssh-rsa"


def test_in_this_order():
    assert KEX[0] == "curve25519-sha256", "old dropbear clients fail where mlkem leads"
    assert any("mlkem" in name for name in KEX)
    assert all("gcm" in name for name in ENCRYPTION[:2]) and not any("chacha" in name for name in ENCRYPTION)
    assert all(name.endswith("-etm@openssh.com") for name in MAC[:-1])
    assert MAC_OF_DROPBEAR not in MAC_OF_GATEWAY, "on offer to dropbear alone, which has neither these nor GCM"


@pytest.mark.django_db(transaction=True)
async def test_the_gateway_offers_exactly_this():
    machine = await _machine()
    async with node() as broker, await broker.connect(machine.key) as connection:
        packet = SSHPacket(connection._server_kexinit)
        packet.get_bytes(17)
        offered = [[name.decode() for name in packet.get_namelist()] for _ in range(8)]
        kex, host_keys, cipher_in, cipher_out, mac_in, mac_out, zip_in, zip_out = offered
        assert [name for name in kex if name not in ("ext-info-s", "kex-strict-s-v00@openssh.com")] == list(KEX)
        assert "kex-strict-s-v00@openssh.com" in kex, "against Terrapin"
        assert host_keys == ["ssh-ed25519"]
        assert cipher_in == cipher_out == list(ENCRYPTION) and mac_in == mac_out == list(MAC_OF_GATEWAY)
        assert zip_in == zip_out == ["none"]
        assert connection.get_extra_info("server_version").startswith("SSH-2.0-brokerd")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "options",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"kex_algs": ["ecdh-sha2-nistp256"]},
        {"encryption_algs": ["aes128-cbc"]},
        {"encryption_algs": ["aes128-ctr"], "mac_algs": ["hmac-sha1"]},
        {"encryption_algs": ["aes128-ctr"], "mac_algs": [MAC_OF_DROPBEAR]},
    ],
    ids=str,
)
async def test_a_client_with_weak_ones_only_is_turned_away(options):
    machine = await _machine()
    async with node() as broker:
        with pytest.raises(asyncssh.KeyExchangeFailed):
            await broker.connect(machine.key, **options)


async def _machine():
    from tests.core.agent import in_database

    return await in_database(make_machine)()
