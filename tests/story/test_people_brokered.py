"""Stock ssh to a host for which the broker logs in: what ssh does to a host, with rights and a record."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.accounts import account
from tests.story.broker import SCALE, Broker, until
from tests.story.client import Client, known_client, run
from tests.story.machine import LOGIN, Machine, machine
from tests.story.screen import Screen
from tests.story.terminal import reattach

pytestmark = pytest.mark.sshd
ALL = {"person": "alice", "logins": [LOGIN], "capabilities": ["terminal", "exec", "sftp"]}


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("brokered"), "box1", broker) as made:
        made.bring_up(ALL)
        yield made


@pytest.fixture(scope="module")
def alice(broker: Broker, host: Machine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return known_client(tmp_path_factory.mktemp("alice"), broker)


@pytest.fixture(scope="module")
def to(host: Machine) -> str:
    return f"{LOGIN}@{host.name}"


def live_session(broker: Broker) -> dict:
    return until(lambda: broker.api("GET", "/sessions?live=1&mine=1", person="alice")["items"], "it is listed")[0]


def test_the_list_says_what_and_how(broker: Broker, host: Machine, alice: Client):
    done = alice.ssh("alice")
    text = done.stdout.decode()
    assert f"{host.name}  online\n" in text
    assert f"ssh -p {broker.ssh_port} {LOGIN}@{host.name}@127.0.0.1\n" in text


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_codes_are_exact(alice: Client, to: str, status: int):
    assert alice.ssh(to, f"exit {status}").returncode == status


def test_streams_are_apart(alice: Client, to: str):
    done = alice.ssh(to, "echo out; echo err >&2; cat", stdin=b"in")
    assert done.stdout == b"out\nin" and done.stderr.endswith(b"\nerr\n"), (
        "after what the test's sshd says in debug mode"
    )


def test_the_default_login(alice: Client, host: Machine):
    assert alice.ssh(f"alice/{host.name}", "id -un").stdout.decode().strip() == LOGIN


def test_a_signal_ends_it_as_a_signal(alice: Client, to: str):
    done = alice.ssh(to, "kill -TERM $$")
    assert done.returncode == 255 and done.stdout == b""


def test_much_of_everything_arrives_as_it_is(alice: Client, to: str):
    data = os.urandom(20_000_000)
    done = alice.ssh(to, "cat", stdin=data, seconds=60)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_with_a_pty(broker: Broker, alice: Client, to: str):
    done = alice.ssh(to, "tty; stty size; echo $TERM", options=("-tt",))
    assert b"/dev/pts/" in done.stdout and done.returncode == 0
    row = broker.api("GET", "/sessions?limit=1", person="alice")["items"][0]
    assert row["way"] == "ssh" and row["bytes_out"] > 0


def test_language_goes_along_and_nothing_else(alice: Client, to: str, host: Machine):
    options = ("-o", "SetEnv=LC_STORY=yes LD_PRELOAD=/nope FOO=bar")
    done = alice.ssh(to, "echo $LC_STORY-$FOO-$LD_PRELOAD", options=options)
    assert done.stdout == b"yes--\n"


def test_an_interactive_shell(broker: Broker, alice: Client, to: str):
    screen = Screen(alice, to)
    screen.shows(b"story$ ")
    screen.type(b"echo $((6*7))\r")
    screen.shows(b"42\r\n")
    assert live_session(broker)["way"] == "ssh"
    screen.type(b"exit 5\r")
    assert screen.process.wait(30 * SCALE) == 5


def test_ended_in_the_portal(broker: Broker, alice: Client, to: str):
    screen = Screen(alice, to)
    screen.shows(b"story$ ")
    broker.api("DELETE", f"/sessions/{live_session(broker)['id']}", person="alice", status=204)
    assert screen.process.wait(30 * SCALE) == 255


async def test_the_browser_takes_it_over(broker: Broker, alice: Client, to: str):
    screen = Screen(alice, to)
    screen.shows(b"story$ ")
    screen.type(b"X=kept\r")
    row = live_session(broker)
    assert row["has_terminal"]
    terminal = await reattach(broker, row["id"])
    await asyncio.to_thread(screen.shows, b"brokerd: this terminal was opened in another window")
    assert await asyncio.to_thread(screen.process.wait, 30 * SCALE) == 255
    await terminal.run("echo $X-$((6*7))")
    await terminal.until(b"kept-42")
    await terminal.close()
    broker.api("DELETE", f"/sessions/{row['id']}", person="alice", status=204)


async def test_a_lost_client_leaves_the_shell_for_the_browser(broker: Broker, alice: Client, to: str):
    screen = Screen(alice, to)
    screen.shows(b"story$ ")
    screen.type(b"X=kept\r")
    row = live_session(broker)
    screen.process.kill()
    screen.process.wait()
    terminal = await reattach(broker, row["id"])
    await terminal.run("echo $X-$((6*7))")
    await terminal.until(b"kept-42")
    await terminal.close()
    broker.api("DELETE", f"/sessions/{row['id']}", person="alice", status=204)


def test_a_flood_into_a_client_that_does_not_read_is_held_back(broker: Broker, alice: Client, to: str):
    before = broker.rss()
    process = subprocess.Popen(alice.command(to, "yes"), stdout=subprocess.PIPE)  # nobody reads the pipe
    other = subprocess.Popen(alice.command(to, "yes", options=("-tt",)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        time.sleep(3)
        assert broker.rss() - before < 16 * 1024 * 1024, "two windows of 2 MiB each way, and a ring"
    finally:
        for one in (process, other):
            one.kill()
            one.wait()
        broker.manage("end_sessions", "--person", "alice")  # the terminal would wait for its browser


@pytest.mark.parametrize("protocol", [(), ("-O",)])
def test_scp(alice: Client, broker: Broker, to: str, tmp_path: Path, protocol: tuple[str, ...]):
    source, back = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(1_000_000))
    options = ["-q", "-F", str(alice.config), "-P", str(broker.ssh_port), "-o", f"User={to}", *protocol]
    for places in ((str(source), f"127.0.0.1:{tmp_path}/there"), (f"127.0.0.1:{tmp_path}/there", str(back))):
        done = run(["scp", *options, *places])
        assert done.returncode == 0, done.stderr
    assert back.read_bytes() == source.read_bytes()


def test_sftp(alice: Client, broker: Broker, to: str, tmp_path: Path):
    (tmp_path / "x").write_text("hello")
    options = ["-q", "-F", str(alice.config), "-P", str(broker.ssh_port), "-o", f"User={to}"]
    done = run(["sftp", *options, "127.0.0.1"], stdin=f"get {tmp_path}/x {tmp_path}/y\nbye\n".encode())
    assert (tmp_path / "y").read_text() == "hello", done.stderr

    def recorded() -> list[dict]:
        return [event for event in broker.audit("file.transferred") if event["detail"]["path"] == f"{tmp_path}/x"]

    [file] = until(recorded, "it is on record")
    assert (file["person"], file["host"], file["login"]) == ("alice", "box1", LOGIN)
    wanted = {"direction": "download", "bytes": 5, "sha256": hashlib.sha256(b"hello").hexdigest(), "complete": True}
    assert wanted.items() <= file["detail"].items()


def test_every_file_of_a_folder_is_on_record(alice: Client, broker: Broker, to: str, tmp_path: Path):
    folder = tmp_path / "many"
    folder.mkdir()
    sums = {}
    for number in range(300):
        data = os.urandom(number * 37)
        (folder / f"f{number}").write_bytes(data)
        sums[f"f{number}"] = hashlib.sha256(data).hexdigest()
    options = ["-q", "-r", "-F", str(alice.config), "-P", str(broker.ssh_port), "-o", f"User={to}"]
    done = run(["scp", *options, str(folder), f"127.0.0.1:{tmp_path}/copy"])
    assert done.returncode == 0, done.stderr

    def recorded() -> dict[str, str]:
        files = [event["detail"] for event in broker.audit("file.transferred")]
        return {Path(file["path"]).name: file["sha256"] for file in files if "/copy/" in file["path"]}

    until(lambda: recorded() == sums, "each with its sum")


def test_many_over_one_connection(alice: Client, broker: Broker, to: str, host: Machine, tmp_path: Path):
    master = ("-o", f"ControlPath={tmp_path}/s", "-o", "ControlMaster=auto", "-o", "ControlPersist=10")
    assert alice.ssh(to, "true", options=master).returncode == 0
    logins = host.sshd_log.count("Accepted publickey")
    running = [
        subprocess.Popen(alice.command(to, f"sleep 1; echo {n}", options=master), stdout=subprocess.PIPE)
        for n in range(8)
    ]
    assert sorted(process.communicate()[0] for process in running) == [b"%d\n" % n for n in range(8)]
    assert host.sshd_log.count("Accepted publickey") - logins <= 2, "and they share the way to the host as well"
    run(["ssh", "-F", str(alice.config), *master, "-O", "exit", "-p", str(broker.ssh_port), f"{to}@127.0.0.1"])


@pytest.mark.parametrize(
    ("what", "options"), [(("id",), ()), ((), ("-tt",)), (("sftp",), ("-s",))], ids=["exec", "terminal", "sftp"]
)
def test_each_needs_its_capability(
    broker: Broker, alice: Client, web1: Machine, what: tuple[str, ...], options: tuple[str, ...]
):
    """On web1 alice has a terminal only."""
    done = alice.ssh(f"{LOGIN}@web1", *what, options=options, stdin=b"exit\r")
    if options == ("-tt",):
        assert done.returncode == 0, done
    else:
        assert done.returncode == 255 and b"does not give" in done.stderr
        assert broker.audit("session.refused")[0]["person"] == "alice"


@pytest.mark.parametrize(
    ("username", "reason"),
    [
        ("bob", b"this key is alice's"),
        ("bob/box1", b"this key is alice's"),
        ("root@NOPE", b"lower-case"),
        ("root@nowhere", b"there is no host nowhere that you may reach"),
        (f"{LOGIN}@", b"lower-case"),
    ],
)
def test_what_makes_no_sense_is_told(alice: Client, username: str, reason: bytes):
    done = alice.ssh(username, "id")
    assert done.returncode == 255 and reason in done.stderr, done.stderr


def test_a_removed_key_ends_what_it_opened(broker: Broker, alice: Client, host: Machine, to: str, tmp_path: Path):
    other = known_client(tmp_path / "other", broker)
    process = subprocess.Popen(other.command(to, "echo up; sleep 60"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"up\n"
    listed = run(["ssh-keygen", "-lf", str(other.key)]).stdout.split()[1].decode()
    broker.manage("remove_key", "alice", listed)
    assert process.wait(30 * SCALE) == 255
    assert other.ssh("alice").returncode == 255
    assert alice.ssh("alice").returncode == 0


def test_a_client_that_goes_away_leaves_no_command_behind(alice: Client, to: str, host: Machine, tmp_path: Path):
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        alice.command(to, f"echo $$ > {mark}; while echo x; do sleep 0.1; done"), stdout=subprocess.DEVNULL
    )
    until(lambda: mark.exists() and mark.read_text(), "it runs")
    process.send_signal(signal.SIGKILL)
    process.wait()
    pid = int(mark.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


# A host that does not trust our certificates


def test_the_hosts_question_reaches_the_person_in_the_same_connection(broker: Broker, alice: Client, fresh: Machine):
    with account() as person:
        grant = {"person": "alice", "logins": [person.login], "capabilities": ["terminal", "exec"]}
        fresh.bring_up(grant, ca=False, password=True)
        screen = Screen(alice, f"{person.login}@{fresh.name}")
        screen.shows(f"{person.login}'s password: ".encode())
        screen.type(person.password.encode() + b"\r")
        screen.shows(b"$ ")
        screen.type(b"echo $((6*7)); exit 3\r")
        screen.shows(b"42\r\n")
        assert screen.process.wait(30 * SCALE) == 3
        assert person.password.encode() not in bytes(screen.shown), "not even echoed"
        assert person.password.encode() not in broker.log.read_bytes()
        done = alice.ssh(f"{person.login}@{fresh.name}", "id")
        assert done.returncode == 255 and b"use ssh -t" in done.stderr
