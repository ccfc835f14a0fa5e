"""Who may log in to the login shell, and what those who may cannot do."""

from __future__ import annotations

from typing import Any

import asyncssh
import pytest

from tunnels.agent.account import own_account
from tunnels.agent.shell import address_of

from .stand_in import Gateway, open_descriptors
from .waiting import patient, until

REFUSED: dict[str, dict[str, Any]] = {
    "foreign CA": {"authority": asyncssh.generate_private_key("ssh-ed25519")},
    "wrong principal": {"principals": ["somebody"]},
    "no principal": {"principals": []},
    "wildcard principal": {"principals": ["*"]},
    "expired": {"valid_after": "-2h", "valid_before": "-1h"},
    "not yet valid": {"valid_after": "+1h", "valid_before": "+2h"},
    "other source address": {"source_address": ["192.0.2.0/24"]},
    "other username": {"username": "somebody"},
    "other username and principal": {"username": "somebody", "principals": ["somebody"]},
}


@pytest.mark.parametrize("case", REFUSED)
async def test_certificate_is_refused(shell: Gateway, case: str) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await shell.log_in(**REFUSED[case])
    async with await shell.log_in():
        pass  # the right one still opens


async def test_host_certificate_is_refused(shell: Gateway) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    certificate = shell.authority.generate_host_certificate(key, "host", principals=[own_account().login])
    with pytest.raises((asyncssh.PermissionDenied, ValueError)):
        await shell.connect(client_keys=[(key, certificate)])


async def test_plain_keys_are_refused_even_that_of_the_authority(shell: Gateway) -> None:
    for key in (asyncssh.generate_private_key("ssh-ed25519"), shell.authority):
        with pytest.raises(asyncssh.PermissionDenied):
            await shell.connect(client_keys=[key])


async def test_only_public_keys_are_offered(shell: Gateway) -> None:
    async with patient():
        with pytest.raises(asyncssh.PermissionDenied):
            await shell.connect(client_keys=None, password="secret", preferred_auth=["password"])
        methods = await asyncssh.get_server_auth_methods("localhost", 1, own_account().login, tunnel=shell, config=None)
    assert methods == ["publickey"]


async def test_certificate_for_loopback_is_refused_from_elsewhere(shell: Gateway) -> None:
    for originator in ("192.0.2.7", "example.com", ""):
        shell.originator = originator
        with pytest.raises((asyncssh.PermissionDenied, asyncssh.ConnectionLost)):
            await shell.log_in()


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", "127.0.0.1"), ("evil", "0.0.0.0"), ("", "0.0.0.0")],
)
def test_address_of(host: str, address: str) -> None:
    assert address_of(host) == address


async def test_nothing_but_sessions_is_served(shell: Gateway) -> None:
    generous = {"permit_port_forwarding": True, "permit_agent_forwarding": True, "permit_x11_forwarding": True}
    async with await shell.log_in(**generous) as conn, patient():
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.open_connection("127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.open_unix_connection("/run/secret.sock")
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.create_tun(lambda: asyncssh.SSHTunTapSession())
        with pytest.raises(asyncssh.ChannelListenError):
            await conn.forward_remote_port("", 0, "127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelListenError):
            await conn.forward_remote_path("/tmp/brokerd-test.sock", "/tmp/other.sock")
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.create_process(subsystem="netconf")
        assert (await conn.run("echo well")).stdout == "well\n"


async def test_forced_command_of_the_certificate_holds(shell: Gateway) -> None:
    async with await shell.log_in(force_command="echo forced") as conn:
        assert (await conn.run("echo free")).stdout == "forced\n"


async def test_a_broken_session_leaves_the_others_alone(
    shell: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("boom")

    async with await shell.log_in() as conn, patient():
        good = await conn.create_process("cat", encoding=None)
        bad = await conn.create_process("cat", encoding=None)
        monkeypatch.setattr("tunnels.agent.process.Process.resize", explode)
        bad.change_terminal_size(10, 10)
        await bad.wait_closed()
        good.stdin.write(b"fine")
        assert await good.stdout.read(4) == b"fine"
        monkeypatch.setattr("tunnels.agent.session.Process", explode)
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.create_process("true")
        good.stdin.write(b"fine")
        assert await good.stdout.read(4) == b"fine"
    assert "boom" in caplog.text


async def test_a_broken_start_of_a_connection_leaves_the_tunnel_up(
    shell: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tunnel = shell.tunnel
    with monkeypatch.context() as patch:
        patch.setattr("tunnels.agent.shell._InnerLink.__init__", None)
        with pytest.raises(asyncssh.ChannelOpenError):
            await shell.log_in()
    async with await shell.log_in():
        assert shell.tunnel is tunnel


async def test_nothing_is_left_open(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        await conn.run("true")
        before = open_descriptors()
        for _ in range(5):
            await conn.run("true")
            await conn.run("true", term_type="xterm")
            process = await conn.create_process("sleep 1000", term_type="xterm")
            process.close()
        await until(lambda: open_descriptors() <= before, "descriptors to be closed")
