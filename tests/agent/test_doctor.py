"""What `doctor` says, fault by fault: each is a real one, and each has a line of advice."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tunnels.agent.__main__ import main
from tunnels.agent.account import own_account
from tunnels.agent.config import Config, Target
from tunnels.agent.doctor import Finding, examine, examine_all
from tunnels.agent.state import State

from .conftest import broker_of
from .stand_in import QUICK, Gateway, Portal, line_of
from .test_lifecycle import Running
from .waiting import patient

ALL = ["state", "login shell", "name", "port", "portal", "enrollment", "gateway", "tunnel"]


class Patient:
    """A machine that is well, until a test does something to it."""

    def __init__(self, portal: Portal, gateway: Gateway, state: Path) -> None:
        self.portal, self.gateway, self.state = portal, gateway, state
        self.config = Config(portal.url, None, "web1", None, state)
        self.account = own_account()
        with State(state) as made:
            made.key()
            made.host_key()
        self.enrolled()

    def enrolled(self, **changes: object) -> None:
        with State(self.state) as state:
            state.save_broker(replace(broker_of(self.gateway), url=self.config.broker, **changes))

    async def findings(self) -> dict[str, Finding]:
        async with patient():
            return {finding.check: finding async for finding in examine(self.config, self.account, pace=QUICK)}

    async def wrong(self) -> Finding:
        """The one thing that is wrong."""
        (finding,) = [finding for finding in (await self.findings()).values() if finding.advice]
        return finding


@pytest.fixture
def sick(portal: Portal, gateway: Gateway, state_dir: Path) -> Patient:
    return Patient(portal, gateway, state_dir)


async def test_nothing_is_wrong(sick: Patient) -> None:
    lines: list[str] = []
    found = await sick.findings()
    assert list(found) == ALL and not [finding for finding in found.values() if finding.advice], found
    assert await examine_all([sick.config], sick.account, say=lines.append) == 0
    assert len(lines) == len(ALL) and all(line.startswith("ok  ") for line in lines)


async def test_what_is_wrong_makes_the_status_1_and_has_advice(sick: Patient) -> None:
    lines: list[str] = []
    sick.portal.clock_ahead_s = 3600
    both = [replace(sick.config, section="a"), replace(sick.config, section="b")]
    assert await examine_all(both, sick.account, say=lines.append) == 1
    assert lines.count("[a]") == 1 and sum("WRONG  portal" in line for line in lines) == 2
    assert sum("-> set it" in line for line in lines) == 2


async def test_it_changes_nothing_and_a_running_agent_keeps_its_tunnel(
    portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    portal.state = "approved"
    agent = Running(portal, state_dir)
    async with agent.started():
        await agent.said("tunnel up")
        tunnel, before = gateway.tunnel, len(portal.enrollments())
        found = [finding async for finding in examine(agent.config, own_account(), pace=QUICK)]
        assert not [finding for finding in found if finding.advice], found
        assert "the running agent has had its tunnel since" in found[-1].text
        assert gateway.tunnel is tunnel and len(portal.enrollments()) == before
        gateway.stop()
        await agent.said("tunnel lost")
        await gateway.start()  # up again, but it lets nobody in
        gateway.admits = lambda username, key: False
        await agent.said("does not let web1 in")
        found = [finding async for finding in examine(agent.config, own_account(), pace=QUICK)]
        assert found[-1].check in ("enrollment", "tunnel") and found[-1].advice


async def test_a_name_that_is_not_known(sick: Patient) -> None:
    sick.config = replace(sick.config, broker="http://broker.invalid")
    sick.enrolled()
    finding = await sick.wrong()
    assert finding.check == "name" and "broker.invalid is not known" in finding.text


async def test_a_port_that_nobody_answers(sick: Patient) -> None:
    sick.portal.stop()
    finding = await sick.wrong()
    assert finding.check == "port" and "cannot be reached" in finding.text and "firewall" in finding.advice


async def test_a_proxy_of_the_environment_that_is_not_there(sick: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    sick.config = replace(sick.config, broker="http://broker.example")
    sick.enrolled()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    finding = await sick.wrong()
    assert finding.check == "port" and "http_proxy" in finding.advice and "127.0.0.1 port 1" in finding.text
    monkeypatch.setenv("no_proxy", "broker.example")
    assert "proxy" not in (await sick.findings())["name"].text


async def test_something_else_at_the_portals_place(sick: Patient) -> None:
    sick.portal.answer_with = (404, {}, {})
    finding = await sick.wrong()
    assert finding.check == "portal" and "status 404" in finding.text


async def test_a_certificate_that_nobody_vouches_for(sick: Patient, tmp_path: Path) -> None:
    async with tls_server(tmp_path) as port:
        sick.config = replace(sick.config, broker=f"https://127.0.0.1:{port}")
        sick.enrolled()
        finding = await sick.wrong()
    assert finding.check == "portal" and "CERTIFICATE_VERIFY_FAILED" in finding.text
    assert "SSL_CERT_FILE" in finding.advice


async def test_a_portal_that_speaks_no_tls(sick: Patient) -> None:
    sick.config = replace(sick.config, broker=sick.config.broker.replace("http:", "https:"))
    sick.enrolled()
    finding = await sick.wrong()
    assert finding.check == "portal" and "http:// and https:// are not the same" in finding.advice


@pytest.mark.parametrize(("ahead_s", "words"), [(300, "behind the broker's"), (-300, "ahead of the broker's")])
async def test_a_clock_that_is_wrong(sick: Patient, ahead_s: int, words: str) -> None:
    sick.portal.clock_ahead_s = ahead_s
    finding = await sick.wrong()
    assert finding.check == "portal" and words in finding.text and "NTP" in finding.advice


async def test_no_state_yet(sick: Patient, tmp_path: Path) -> None:
    sick.config = replace(sick.config, state=tmp_path / "nothing")
    found = await sick.findings()
    assert [name for name, finding in found.items() if finding.advice] == ["state", "enrollment"]
    assert not (tmp_path / "nothing").exists(), "to look makes nothing"


async def test_a_key_that_others_can_read(sick: Patient) -> None:
    (sick.state / "key").chmod(0o644)
    found = await sick.findings()
    assert "can be read by others" in found["state"].text and found["state"].advice


async def test_a_folder_that_others_can_write(sick: Patient) -> None:
    sick.state.chmod(0o777)
    assert (await sick.wrong()).advice == f"chmod 700 {sick.state}"


async def test_a_key_that_is_gone(sick: Patient) -> None:
    (sick.state / "key").unlink()
    found = await sick.findings()
    assert "there is no key" in found["state"].text and found["state"].advice
    assert found["tunnel"].advice
    assert not (sick.state / "key").exists(), "to look makes none"


@pytest.mark.parametrize("state", ["pending", "rejected", "revoked"])
async def test_an_enrollment_that_is_not_approved(sick: Patient, state: str) -> None:
    sick.enrolled(state=state)
    finding = await sick.wrong()
    assert finding.check == "enrollment" and state in finding.text and "admin" in finding.advice


async def test_a_state_of_another_broker(sick: Patient) -> None:
    sick.config = replace(sick.config, broker=sick.config.broker + "/sub")
    sick.portal.answer_with = (200, {}, {})
    finding = await sick.wrong()
    assert finding.check == "enrollment" and "belongs to the broker" in finding.text


async def test_a_gateway_that_does_not_answer(sick: Patient) -> None:
    sick.gateway.stop()
    finding = await sick.wrong()
    assert finding.check == "gateway" and "without any proxy" in finding.advice


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
async def test_a_gateway_with_another_host_key(sick: Patient, kind: str) -> None:
    sick.gateway.stop()
    sick.gateway.key = asyncssh.generate_private_key(kind)
    await sick.gateway.start()
    finding = await sick.wrong()
    assert finding.check == "gateway" and "another host key" in finding.text and "broker.json" in finding.advice


async def test_something_else_at_the_gateways_place(sick: Patient) -> None:
    sick.gateway.port = int(sick.portal.url.rpartition(":")[2])
    sick.enrolled()
    finding = await sick.wrong()
    assert finding.check == "gateway" and "does not speak SSH" in finding.text


async def test_a_key_that_the_gateway_does_not_know(sick: Patient) -> None:
    sick.gateway.admits = lambda username, key: False
    finding = await sick.wrong()
    assert finding.check == "tunnel" and "does not let web1 in" in finding.text


async def test_a_tunnel_port_that_is_refused(sick: Patient) -> None:
    sick.gateway.refuses_forward = "tunnel port 22100 is not the one of web1"
    finding = await sick.wrong()
    assert finding.check == "tunnel" and "is not the one of web1" in finding.text


async def test_an_sshd_that_is_not_there(sick: Patient) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        sick.config = replace(sick.config, forward=Target("127.0.0.1", nobody.getsockname()[1]))
        finding = await sick.wrong()
    assert finding.check == "sshd" and "--login-shell" in finding.advice
    sick.config = replace(sick.config, forward=Target("127.0.0.1", sick.gateway.port))
    assert "answers at 127.0.0.1" in (await sick.findings())["sshd"].text


@pytest.mark.parametrize(
    ("shell", "words"), [("/bin/false", "ended with status 1"), ("/no/such/shell", "cannot be run: No such file")]
)
async def test_a_login_shell_that_does_not_run(sick: Patient, shell: str, words: str) -> None:
    sick.account = replace(sick.account, shell=shell)
    finding = await sick.wrong()
    assert finding.check == "login shell" and words in finding.text and "chsh" in finding.advice


async def test_a_list_of_keys_that_cannot_be_used(sick: Patient, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    sick.config = replace(sick.config, authorized_keys=keys)
    assert "No such file" in (await sick.wrong()).text
    keys.write_text("# nobody\n")
    assert "no key that counts" in (await sick.wrong()).text
    key = line_of(asyncssh.generate_private_key("ssh-ed25519"))
    keys.write_text(f'from="10.0.0.1" {key}\n')
    assert "keys:1: `from` cannot be checked" in (await sick.wrong()).text
    keys.write_text(f"{key}\n")
    assert "get in, by ssh -J" in (await sick.findings())["keys"].text
    keys.chmod(0o666)
    assert "can be written by others" in (await sick.wrong()).text


async def test_a_damaged_file_is_a_finding_and_no_crash(sick: Patient) -> None:
    (sick.state / "broker.json").write_text("nonsense")
    found = await sick.findings()
    assert "damaged" in found["enrollment"].text and found["enrollment"].advice


def test_bad_arguments_are_told_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["doctor"]) == 2


@asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[int]:
    """One with a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    encoding = serialization.Encoding.PEM
    pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.pem").write_bytes(pem + builder.sign(key, hashes.SHA256()).public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
