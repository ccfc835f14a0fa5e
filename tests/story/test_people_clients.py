"""The clients that people have, brokered and end to end: a command as it is, a file there and back where they can."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.needs import missing, require_program
from tests.story.broker import SCALE, Broker, until
from tests.story.client import Client, known_client, run
from tests.story.machine import LOGIN, Machine, machine, ssh_grant

pytestmark = pytest.mark.sshd
NAME = "clients1"
TO = f"{LOGIN}@{NAME}"
COMMAND = "cat; echo said; echo apart >&2; exit 3"
SAID = (b"in\nsaid\n", 3)
WAYS = ("brokered", "end-to-end")
"""Also the names of the host in the configuration file for `ssh`."""
CONVERT = "/usr/lib/dropbear/dropbearconvert"
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's, for Debian's Paramiko: it is no part of ours."""
BY_PARAMIKO = Path(__file__).with_name("by_paramiko.py")


@dataclass
class Person:
    """Alice with her client, and what other clients want in files of their own kind."""

    client: Client
    host: Machine
    folder: Path

    @property
    def port(self) -> int:
        return self.client.broker.ssh_port

    @property
    def ssh(self) -> str:
        """What programs run that bring their own `ssh`; it knows the host under both names of WAYS."""
        return f"ssh -F {self.client.config}"


@pytest.fixture(scope="module")
def alice(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Her host trusts the broker's CA, and her own key for the way end to end."""
    folder = tmp_path_factory.mktemp("clients")
    with machine(folder, NAME, broker) as host:
        keys = host.folder / "authorized_keys"
        keys.touch()
        host.bring_up(ssh_grant(), authorized_keys=keys)
        client = known_client(folder / "alice", broker, "alice", [host])
        keys.write_text(client.public_key + "\n")
        proxy = f"ssh -F {client.config} -W %h:%p -p {broker.ssh_port} alice@127.0.0.1"
        client.write(
            f"Host brokered\n    HostName 127.0.0.1\n    Port {broker.ssh_port}\n    User {TO}\n"
            f"Host end-to-end\n    HostName {NAME}\n    User {LOGIN}\n    ProxyCommand {proxy}\n"
        )
        yield Person(client, host, folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_openssh(alice: Person, data: Path, tmp_path: Path):
    """Both names in one configuration, as the account page writes it."""
    for way in WAYS:
        done = run([*shlex.split(alice.ssh), way, COMMAND], stdin=b"in\n")
        assert (done.stdout, done.returncode) == SAID, done.stderr
    done = run(["scp", "-3", "-q", "-F", str(alice.client.config), f"brokered:{data}", f"end-to-end:{tmp_path}/copy"])
    assert (tmp_path / "copy").read_bytes() == data.read_bytes(), done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_output_may_end_before_its_command(alice: Person, way: str):
    """As a command that goes on in the background has it; the status still comes."""
    command = [*shlex.split(alice.ssh), way, "exec >&- 2>&-; read line; exit 4"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin and process.stdout
        assert process.stdout.read() == b"", "read to its end, while the command waits for its input"
        process.stdin.close()
        assert process.wait(30 * SCALE) == 4


# Dropbear


@pytest.fixture(scope="module")
def dbclient(alice: Person) -> list[str]:
    program = shutil.which("dbclient")
    if program is None or not Path(CONVERT).exists():
        missing("dbclient is missing: install the Debian package dropbear-bin")
    key = alice.folder / "id.dropbear"
    subprocess.run([CONVERT, "openssh", "dropbear", alice.client.key, key], check=True, capture_output=True)
    home = alice.folder / "dropbear"
    (home / ".ssh").mkdir(parents=True)
    known = alice.client.known_hosts.read_text()  # dropbear writes hosts without their port
    (home / ".ssh" / "known_hosts").write_text(known.replace(f"[127.0.0.1]:{alice.port}", "127.0.0.1"))
    # By its path: for `by hops` it starts itself by the name that it was given.
    return ["env", f"HOME={home}", program, "-i", str(key)]


@pytest.mark.parametrize("way", ["brokered", "by hops", "by a program"])
def test_dbclient(alice: Person, dbclient: list[str], data: Path, way: str):
    """`by hops`: its own way through a jump host; `by a program`: `-J`, which is OpenSSH's ProxyCommand."""
    gateway = ["-p", str(alice.port)]
    places = {
        "brokered": [*gateway, "-l", TO, "127.0.0.1"],
        "by hops": [f"alice@127.0.0.1/{alice.port},{TO}"],
        "by a program": ["-J", shlex.join([*dbclient, *gateway, "-B", f"{NAME}:22", "alice@127.0.0.1"]), TO],
    }
    done = run([*dbclient, *places[way], COMMAND], stdin=b"in\n")
    assert (done.stdout, done.returncode) == SAID, done.stderr
    done = run([*dbclient, *places[way], "cat"], stdin=data.read_bytes())
    assert done.stdout == data.read_bytes(), done.stderr


# PuTTY


@pytest.fixture(scope="module")
def putty(alice: Person) -> dict[str, list[str]]:
    """Words after `plink` or `pscp`, for each way. Host keys are given by fingerprint; nothing is asked or kept."""
    if shutil.which("plink") is None or shutil.which("puttygen") is None:
        missing("plink is missing: install the Debian package putty-tools")
    key = alice.folder / "id.ppk"
    subprocess.run(["puttygen", alice.client.key, "-o", key], check=True)
    general = ["-batch", "-noagent", "-i", str(key)]
    listed = run(["ssh-keygen", "-lf", str(alice.client.known_hosts)]).stdout.decode().splitlines()
    gateway_key, host_key = (line.split()[1] for line in listed[:2])
    gateway = [*general, "-P", str(alice.port), "-hostkey", gateway_key]
    proxy = shlex.join(["plink", *gateway, "-nc", f"{NAME}:22", "-l", "alice", "127.0.0.1"])
    return {
        "brokered": [*gateway, "-l", TO, "127.0.0.1"],
        "end-to-end": [*general, "-hostkey", host_key, "-proxycmd", proxy, "-l", LOGIN, NAME],
    }


@pytest.mark.parametrize("way", WAYS)
def test_plink(putty: dict[str, list[str]], way: str):
    done = run(["plink", *putty[way], COMMAND], stdin=b"in\n")
    assert (done.stdout, done.returncode) == SAID, done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
def test_pscp(putty: dict[str, list[str]], data: Path, tmp_path: Path, way: str, protocol: str):
    *options, place = putty[way]
    for places in ((str(data), f"{place}:{tmp_path}/there"), (f"{place}:{tmp_path}/there", f"{tmp_path}/back")):
        done = run(["pscp", "-q", protocol, *options, *places])
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == data.read_bytes()


# Libraries


@pytest.mark.parametrize("way", WAYS)
def test_paramiko(alice: Person, data: Path, way: str):
    if run([SYSTEM_PYTHON, "-c", "import paramiko"]).returncode != 0:
        missing(f"{SYSTEM_PYTHON} has no paramiko: install the Debian package python3-paramiko")
    words = [way, str(alice.port), LOGIN, NAME, str(alice.client.key), str(alice.client.known_hosts), COMMAND, data]
    done = run([SYSTEM_PYTHON, str(BY_PARAMIKO), *map(str, words)], stdin=b"in\n")
    assert (done.stdout, done.returncode) == SAID, done.stderr
    assert data.with_suffix(".back").read_bytes() == data.read_bytes()


@pytest.mark.parametrize("way", WAYS)
async def test_asyncssh(alice: Person, data: Path, way: str):
    options: dict[str, Any] = {
        "client_keys": [str(alice.client.key)],
        "known_hosts": str(alice.client.known_hosts),
        "config": None,
        "agent_path": None,
    }
    username = TO if way == "brokered" else "alice"
    async with asyncssh.connect("127.0.0.1", alice.port, username=username, **options) as first:
        last = first if way == "brokered" else await first.connect_ssh(NAME, username=LOGIN, **options)
        done = await last.run(COMMAND, input=b"in\n", encoding=None)
        assert (done.stdout, done.exit_status) == SAID
        async with last.start_sftp_client() as sftp:
            await sftp.put(str(data), f"{data}.there")
            await sftp.get(f"{data}.there", f"{data}.back")
        last.close()
    assert Path(f"{data}.back").read_bytes() == data.read_bytes()


# Programs that run `ssh`


@pytest.mark.parametrize("way", WAYS)
def test_rsync(alice: Person, tmp_path: Path, way: str):
    require_program("rsync")
    for name in "abc":
        (tmp_path / "from" / name).mkdir(parents=True)
        (tmp_path / "from" / name / "file").write_text(name * 100_000)
    for places in ((f"{tmp_path}/from/", f"{way}:{tmp_path}/to/"), (f"{way}:{tmp_path}/to/", f"{tmp_path}/back/")):
        done = run(["rsync", "-a", "-e", alice.ssh, *places])
        assert done.returncode == 0, done.stderr
    assert run(["diff", "-r", f"{tmp_path}/from", f"{tmp_path}/back"]).returncode == 0


@pytest.mark.parametrize("way", WAYS)
def test_git(alice: Person, tmp_path: Path, way: str):
    require_program("git")
    origin, work = tmp_path / "origin.git", tmp_path / "work"

    def git(*words: str) -> None:
        config = ["-c", f"core.sshCommand={alice.ssh}", "-c", "user.name=alice", "-c", "user.email=alice@localhost"]
        done = run(["git", *config, *words])
        assert done.returncode == 0, done.stderr

    git("init", "--quiet", "--bare", str(origin))
    git("clone", "--quiet", f"{way}:{origin}", str(work))
    (work / "file").write_bytes(os.urandom(300_000))
    git("-C", str(work), "add", "file")
    git("-C", str(work), "commit", "--quiet", "--message", "One file")
    git("-C", str(work), "push", "--quiet", "origin", "HEAD")
    git("clone", "--quiet", f"{way}:{origin}", str(tmp_path / "again"))
    assert (tmp_path / "again" / "file").read_bytes() == (work / "file").read_bytes()


def test_ansible(alice: Person, data: Path, tmp_path: Path):
    """Both ways in one play, which is slow enough; over its usual multiplexed connections."""
    if shutil.which("ansible-playbook") is None:
        missing("ansible-playbook is missing: install the Debian package ansible-core")
    arguments = f"-F {alice.client.config} -o ControlPersist=2"
    inventory = tmp_path / "inventory"
    inventory.write_text(
        "\n".join(WAYS) + f"\n[all:vars]\nansible_ssh_common_args={arguments}\n"
        f"ansible_python_interpreter={SYSTEM_PYTHON}\n"
    )
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n  - ping:\n"
        f"  - copy: {{src: {data}, dest: '{tmp_path}/{{{{ inventory_hostname }}}}', mode: '0600'}}\n"
    )
    settings = {"HOME": str(tmp_path), "ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_NOCOLOR": "1"}
    words = [f"{name}={value}" for name, value in settings.items()]
    done = run(["env", *words, "ansible-playbook", "-i", str(inventory), str(play)], seconds=90)
    assert done.returncode == 0, (done.stdout, done.stderr)
    digests = {hashlib.sha256((tmp_path / way).read_bytes()).digest() for way in WAYS}
    assert digests == {hashlib.sha256(data.read_bytes()).digest()}


def test_autossh_keeps_an_agent(fresh: Machine):
    """The machine's side: whatever ends the ssh below it, there is a new one, and the host is back."""
    require_program("autossh")
    fresh.bring_up(ssh_grant(), agent=False)
    command = ["autossh", "-M", "0", *fresh.ssh_command()[1:]]
    keeper = subprocess.Popen(
        command, env={**os.environ, "AUTOSSH_GATETIME": "0"}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")

    def tunnels() -> int:
        return sum(event["host"] == fresh.name for event in fresh.broker.audit("tunnel.opened"))

    try:
        fresh.wait_online()
        first = until(lambda: children.read_text().split(), "there is an ssh")
        os.kill(int(first[0]), signal.SIGKILL)
        until(lambda: children.read_text().split() not in ([], first), "there is another ssh")
        until(lambda: tunnels() > 1 and fresh.broker.is_online(fresh.name), "it is back")
    finally:
        keeper.terminate()
        keeper.wait(30 * SCALE)
