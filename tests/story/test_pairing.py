"""A machine that nobody knows becomes a host with nothing but its ssh client: shown, approved or not, and bounded."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.needs import missing
from tests.story.broker import SCALE, Broker, running, soon, until
from tests.story.machine import Machine, keygen, machine, terminal_grant
from tests.story.programs import Program, program
from tests.story.terminal import open_terminal, shell

pytestmark = pytest.mark.sshd

BANNER = re.compile(r"fingerprint +(SHA256:\S+)[\s|]+pairing code +(\S+)[\s|]+approve at +(\S+)")
EXIT_ON_FAILURE = ["yes", "no"]


class Stranger(Machine):
    """A machine whose first word to the broker is `ssh`. It has the gateway's key and the CA's from elsewhere."""

    def know(self, other: Machine) -> None:
        self.enrollment = {name: other.enrollment[name] for name in ("gateway", "ca_public_key")}

    def pair(self, *options: str, port: int = 0) -> None:
        self.start_agent("-b", self.address, *options, forward=f"{port}:127.0.0.1:{self.port}")

    def shown(self) -> tuple[str, str, str]:
        """Fingerprint, pairing code and address, as the client printed them last; its key has proved itself since."""
        banner = until(lambda: BANNER.findall(self.agent_log), "the banner was printed")[-1]
        until(lambda: events(self.broker, "enrollment.requested", self.name), "it waits for an admin")
        return banner

    def left(self) -> str:
        """What it printed, once it has ended."""
        assert self.agent
        assert self.agent.wait(30 * SCALE) == 255
        return self.agent_log

    def admit(self, *grants: dict[str, Any]) -> None:
        self.enrollment["fingerprint"] = self.shown()[0]
        self.approve(*grants)


def events(broker: Broker, event: str, name: str) -> list[dict[str, Any]]:
    return [item for item in reversed(broker.audit(event)) if item["host"] == name]


@contextmanager
def stranger(folder: Path, name: str, of: Machine) -> Iterator[Stranger]:
    made = Stranger(folder / name, name, of.broker)
    made.know(of)
    try:
        yield made
    finally:
        made.stop()


def name_of(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")


@pytest.fixture
def newname(web1: Machine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stranger]:
    with stranger(tmp_path, name_of(request), web1) as made:
        yield made


# The whole way


@pytest.mark.parametrize("exit_on_failure", EXIT_ON_FAILURE)
async def test_from_one_command_to_a_shell(broker: Broker, newname: Stranger, exit_on_failure: str):
    newname.start_sshd()
    newname.pair("-o", f"ExitOnForwardFailure={exit_on_failure}")
    fingerprint, code, address = newname.shown()
    own = subprocess.run(["ssh-keygen", "-lf", newname.key], capture_output=True, text=True, check=True)
    assert fingerprint == own.stdout.split()[1]
    assert address == f"{broker.url}/approvals/"
    (asked,) = events(broker, "enrollment.requested", newname.name)
    assert (asked["detail"]["fingerprint"], asked["detail"]["code"]) == (fingerprint, code)
    assert asked["address"] == newname.address
    assert newname.agent and newname.agent.poll() is None

    newname.admit(terminal_grant())
    newname.wait_online()
    port = broker.host(newname.name)["tunnel_port"]
    until(lambda: f"Allocated port {port} for remote forward" in newname.agent_log, "the client was told its port")
    until(lambda: events(broker, "host.key_pinned", newname.name), "its host key was read")
    (pinned,) = events(broker, "host.key_pinned", newname.name)
    host_key = subprocess.run(
        ["ssh-keygen", "-lf", newname.folder / "host.pub"], capture_output=True, text=True, check=True
    )
    assert pinned["detail"]["fingerprints"] == [host_key.stdout.split()[1]]
    async with shell(broker, newname.name) as terminal:
        await terminal.run("echo $((6 * 7))")
        await terminal.until(b"42")


def test_approved_by_a_command(broker: Broker, newname: Stranger):
    newname.pair()
    newname.shown()
    broker.manage("approve_host", newname.name)
    newname.wait_online()


def test_it_comes_back_like_any_host(broker: Broker, newname: Stranger):
    newname.pair()
    newname.admit()
    newname.wait_online()
    before = newname.agent_log.count("pairing code")
    newname.stop_agents()
    newname.wait_online(False)
    newname.pair()
    newname.wait_online()
    assert newname.agent_log.count("pairing code") == before


def test_a_free_port_that_it_names_becomes_its_own(broker: Broker, newname: Stranger):
    newname.pair(port=22987)
    newname.admit()
    newname.wait_online()
    assert [
        host["tunnel_port"]
        for host in broker.api("GET", "/hosts?state=approved&limit=1000")["items"]
        if host["name"] == newname.name
    ] == [22987]
    (changed,) = events(broker, "setting.changed", newname.name)
    assert (changed["detail"]["setting"], changed["detail"]["new"]) == ("tunnel_port", 22987)


def test_a_port_of_another_host_does_not(broker: Broker, newname: Stranger, web1: Machine):
    taken = web1.enrollment["tunnel_port"]
    newname.pair(port=taken)
    newname.admit()
    assert f"tunnel port {taken} is not the one of {newname.name}" in newname.left()
    assert broker.is_online("web1")


async def test_a_terminal_before_its_host_key_is_known(broker: Broker, newname: Stranger):
    """Its SSH server is down: the tunnel is there, no terminal is. Once it answers, its keys are pinned."""
    newname.pair()
    newname.admit(terminal_grant())
    newname.wait_online()
    terminal = await open_terminal(broker, newname.name)
    assert await terminal.closed() == 4412
    assert "is not known yet" in terminal.close_reason
    assert events(broker, "host.key_pinned", newname.name) == []
    newname.start_sshd()
    await soon(lambda: events(broker, "host.key_pinned", newname.name), "its host key was read")
    async with shell(broker, newname.name) as terminal:
        await terminal.run("echo $((6 * 7))")
        await terminal.until(b"42")


def test_all_kinds_of_host_keys_are_pinned(broker: Broker, newname: Stranger):
    lines = [keygen(newname.folder / f"host-{kind}", kind) for kind in ("ecdsa", "rsa")]
    newname.start_sshd()
    config = newname.folder / "sshd_config"
    more = "".join(f"HostKey {newname.folder}/host-{kind}\n" for kind in ("ecdsa", "rsa"))
    config.write_text(config.read_text() + more)
    assert newname.sshd
    newname.sshd.kill()
    newname.sshd.wait()
    newname._run_sshd(config)
    newname.pair()
    newname.admit()
    (pinned,) = until(lambda: events(broker, "host.key_pinned", newname.name), "its host keys were read")
    assert len(pinned["detail"]["fingerprints"]) == 1 + len(lines)


# Turned away


@pytest.mark.parametrize("exit_on_failure", EXIT_ON_FAILURE)
def test_rejected(broker: Broker, newname: Stranger, exit_on_failure: str):
    newname.pair("-o", f"ExitOnForwardFailure={exit_on_failure}")
    newname.shown()
    broker.api("POST", f"/hosts/{newname.name}/reject")
    assert f"enrollment of {newname.name} was rejected" in newname.left()
    newname.pair()
    assert newname.left().count("was rejected") == 2
    assert events(broker, "tunnel.opened", newname.name) == []


def test_nobody_decides(hasty1: Machine, tmp_path: Path):
    """The wait ends; the enrollment goes on waiting, and the same command goes on with the same code."""
    with stranger(tmp_path, "undecided", hasty1) as undecided:
        undecided.pair()
        assert "nobody approved it in time" in undecided.left()
        undecided.pair()
        until(lambda: len(BANNER.findall(undecided.agent_log)) == 2, "it is shown again")
        assert len(set(BANNER.findall(undecided.agent_log))) == 1
        assert len(events(hasty1.broker, "enrollment.requested", "undecided")) == 1
        undecided.admit()
        undecided.wait_online()


def test_the_same_key_waits_once(newname: Stranger):
    newname.pair()
    newname.shown()
    first = newname.agent
    newname.pair()
    assert first and first.wait(30 * SCALE) == 255
    assert "replaced by a new connection with the same key" in newname.agent_log
    assert newname.agent and newname.agent.poll() is None


def test_without_open_enrollment_nobody_waits(tmp_path: Path):
    with running(tmp_path / "data", BROKERD_OPEN_ENROLLMENT="0") as closed:
        token = closed.manage("create_enrollment_token", "--name", "t").stdout.strip()
        with machine(tmp_path, "known", closed) as known, stranger_of(tmp_path, known, token) as unknown:
            before = closed.audit("enrollment.requested")
            unknown.pair()
            printed = unknown.left()
            assert "Permission denied (publickey)" in printed
            assert "brokerd" not in printed
            assert closed.audit("enrollment.requested") == before
            assert closed.audit("enrollment.refused") == []


@contextmanager
def stranger_of(folder: Path, known: Machine, token: str) -> Iterator[Stranger]:
    known.request(token=token)
    with stranger(folder, "unknown", known) as made:
        yield made


# Names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web1", "the name web1 is taken by another machine"),
        ("New_Host", "'New_Host' is not a host name"),
        ("localhost", "'localhost' is not a host name"),
    ],
)
def test_a_name_that_it_cannot_have(broker: Broker, web1: Machine, tmp_path: Path, name: str, said: str):
    before = broker.audit("enrollment.requested")
    with stranger(tmp_path, "unnamed", web1) as unnamed:
        unnamed.name = name
        unnamed.pair()
        printed = unnamed.left()
    assert said in printed
    assert "Permission denied (publickey)" in printed
    assert broker.audit("enrollment.requested") == before


@pytest.mark.parametrize("name", ["alice", "root@web1", "alice/web1"])
def test_people_are_no_machines(broker: Broker, web1: Machine, tmp_path: Path, name: str):
    """An unknown key with a person's name may be one of several that their client offers."""
    before = broker.audit("enrollment.requested")
    with stranger(tmp_path, "person", web1) as person:
        person.name = name
        person.pair()
        printed = person.left()
    assert "Permission denied (publickey)" in printed
    assert "brokerd" not in printed
    assert broker.audit("enrollment.requested") == before


# Other clients


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        missing(f"{program} is missing: install the Debian package {package}")


def test_dropbear(broker: Broker, newname: Stranger):
    need("dbclient", "dropbear-bin")
    home = newname.folder / "dropbear"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh" / "known_hosts").write_text(f"127.0.0.1 {newname.enrollment['gateway']['host_keys'][0]}\n")
    run(["dropbearkey", "-t", "ed25519", "-f", home / "key"])
    command = ["dbclient", "-N", "-i", home / "key", "-R", f"0:127.0.0.1:{newname.port}", "-p", str(broker.ssh_port)]
    with program([*command, f"{newname.name}@127.0.0.1"], home / "log", env={"HOME": str(home)}) as client:
        client.start()
        _admit(newname, client)


def test_putty(broker: Broker, newname: Stranger):
    need("plink", "putty-tools")
    home = newname.folder / "putty"
    home.mkdir()
    run(["puttygen", newname.key, "-O", "private", "-o", home / "key.ppk"])
    known = home / "gateway.pub"
    known.write_text(newname.enrollment["gateway"]["host_keys"][0])
    fingerprint = run(["ssh-keygen", "-lf", known]).split()[1]
    command = ["plink", "-batch", "-N", "-i", home / "key.ppk", "-hostkey", fingerprint, "-P", str(broker.ssh_port)]
    forward = ["-R", f"22986:127.0.0.1:{newname.port}", f"{newname.name}@127.0.0.1"]
    with program([*command, *forward], home / "log", env={"HOME": str(home)}) as client:
        client.start()
        assert client.wait() == 1  # it shows a banner only when the try is over
        assert "Run this command again after the approval" in client.output
        _admit(newname, client, online=False)
        client.start()
        newname.wait_online()


def run(command: list[Any]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _admit(newname: Stranger, client: Program, *, online: bool = True) -> None:
    until(lambda: "pairing code" in client.output, f"the banner was printed: {client.output}")
    newname.enrollment["fingerprint"] = BANNER.search(client.output)[1]  # type: ignore[index]
    newname.approve()
    if online:
        newname.wait_online()
