"""Stock ssh, scp, sftp, rsync and git to a host that has `brokerd-agent` and no sshd, through the real broker."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.needs import require_program
from tests.story.agent import AgentMachine, agent_machine
from tests.story.broker import SCALE, Broker, until
from tests.story.client import Client, known_client, run
from tests.story.machine import LOGIN, ssh_grant


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMachine]:
    with agent_machine(tmp_path_factory.mktemp("agent"), "bare1", broker, "--login-shell") as made:
        made.bring_up(ssh_grant())
        yield made


@pytest.fixture(scope="module")
def alice(broker: Broker, host: AgentMachine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return known_client(tmp_path_factory.mktemp("alice"), broker)


@pytest.fixture(scope="module")
def to(host: AgentMachine) -> str:
    return f"{LOGIN}@{host.name}"


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_codes_are_exact(alice: Client, to: str, status: int):
    assert alice.ssh(to, f"exit {status}").returncode == status
    assert alice.ssh(to, f"exit {status}", options=("-tt",)).returncode == status


def test_streams_are_apart_and_stdin_has_an_end(alice: Client, to: str):
    done = alice.ssh(to, "echo out; echo err >&2; cat", stdin=b"in")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\nin", b"err\n", 0)


def test_a_signal_ends_it_as_a_signal(alice: Client, to: str):
    done = alice.ssh(to, "kill -TERM $$")
    assert done.returncode == 255 and done.stdout == b""


def test_much_of_everything_arrives_as_it_is(alice: Client, to: str):
    data = os.urandom(5_000_000)
    done = alice.ssh(to, "cat", stdin=data, seconds=60)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_with_a_pty(alice: Client, to: str):
    done = alice.ssh(to, "tty; test -t 2", options=("-tt",))
    assert b"/dev/pts/" in done.stdout and done.returncode == 0


def test_language_goes_along_and_nothing_else(alice: Client, to: str):
    options = ("-o", "SetEnv=LC_STORY=yes LD_PRELOAD=/nope FOO=bar")
    done = alice.ssh(to, "echo $LC_STORY-$FOO-$LD_PRELOAD", options=options)
    assert done.stdout == b"yes--\n"


def test_an_interactive_shell_follows_the_window_and_takes_keys(alice: Client, to: str):
    """A person's terminal: a pty that is resized, in which ^C ends a program and not the shell."""
    with Terminal(alice.command(to)) as terminal:
        terminal.resize(43, 132)
        terminal.type("echo [$TERM]\r")
        terminal.shows("[vt220]")
        terminal.type("echo si''ze; stty size\r")
        terminal.shows("size")
        terminal.shows("43 132")
        terminal.resize(20, 70)
        terminal.type("until stty size | grep '20 7''0'; do sleep 0.1; done\r")
        terminal.shows("20 70")
        terminal.type("sh -c 'echo g''o; exec sleep 1000'\r")
        terminal.shows("go")
        terminal.type("\x03")
        terminal.type("echo status $?''.\r")
        terminal.shows("status 130.")
        terminal.type("exit 7\r")
        assert terminal.process.wait(20 * SCALE) == 7


class Terminal:
    """A stock client in a pty, as a person has it in front of them."""

    def __init__(self, command: list[str]) -> None:
        master, slave = os.openpty()
        environ = {**os.environ, "TERM": "vt220"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environ
        )
        self._slave, self._seen = slave, b""
        self._master: IO[bytes] = os.fdopen(master, "r+b", buffering=0)
        os.set_blocking(master, False)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait()
        self._master.close()
        os.close(self._slave)

    def resize(self, rows: int, cols: int) -> None:
        termios.tcsetwinsize(self._slave, (rows, cols))
        self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        self._master.write(text.encode())

    def shows(self, text: str) -> None:
        """Waits until it does, and forgets everything up to there."""

        def is_there() -> bool:
            self._seen += self._master.read() or b""
            return text.encode() in self._seen

        until(is_there, f"{text!r} in {self._seen!r}")
        self._seen = self._seen.split(text.encode(), 1)[1]


def test_a_client_that_goes_away_leaves_no_command_behind(alice: Client, to: str, tmp_path: Path):
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        alice.command(to, f"echo $$ > {mark}; while echo x; do sleep 0.1; done"), stdout=subprocess.DEVNULL
    )
    until(lambda: mark.exists() and mark.read_text(), "it runs")
    process.kill()
    process.wait()
    pid = int(mark.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


@pytest.mark.parametrize("protocol", [(), ("-O",)], ids=["sftp", "legacy"])
def test_scp(alice: Client, broker: Broker, to: str, tmp_path: Path, protocol: tuple[str, ...]):
    source, back = tmp_path / "a", tmp_path / "b"
    (source / "in").mkdir(parents=True)
    (source / "in" / "file").write_bytes(os.urandom(1_000_000))
    (source / "empty").touch()
    options = ["-q", "-r", "-p", "-F", str(alice.config), "-P", str(broker.ssh_port), "-o", f"User={to}", *protocol]
    for places in ((str(source), f"127.0.0.1:{tmp_path}/there"), (f"127.0.0.1:{tmp_path}/there", str(back))):
        done = run(["scp", *options, *places])
        assert done.returncode == 0, done.stderr
    assert (back / "in" / "file").read_bytes() == (source / "in" / "file").read_bytes()
    assert (back / "empty").exists()
    missing = run(["scp", *options, f"127.0.0.1:{tmp_path}/nothing", str(back)])
    assert missing.returncode == 1 and b"nothing" in missing.stderr.lower()


def test_sftp_and_its_record(alice: Client, broker: Broker, to: str, tmp_path: Path):
    (tmp_path / "x").write_text("hello")
    script = f"cd {tmp_path}\nget x {tmp_path}/y\nln -s x link\nmkdir d\nrename x d/x\nls -l d\nchmod 600 d/x\nbye\n"
    options = ["-q", "-F", str(alice.config), "-P", str(broker.ssh_port), "-o", f"User={to}", "-b", "-"]
    done = run(["sftp", *options, "127.0.0.1"], stdin=script.encode())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "y").read_text() == "hello" and (tmp_path / "d" / "x").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link").readlink() == Path("x")
    [file] = until(lambda: transfers(broker, tmp_path / "x"), "it is on record")
    assert (file["host"], file["detail"]["sha256"]) == ("bare1", hashlib.sha256(b"hello").hexdigest())


def transfers(broker: Broker, path: Path) -> list[dict[str, Any]]:
    """Those of this file that are on record: it passes a moment before."""
    return [event for event in broker.audit("file.transferred") if event["detail"]["path"] == str(path)]


def test_a_transfer_that_hangs_holds_nobody_up(alice: Client, broker: Broker, to: str, tmp_path: Path):
    """A named pipe that nobody feeds: its transfer waits, the next person does not."""
    os.mkfifo(tmp_path / "pipe")
    options = ["-q", "-F", str(alice.config), "-P", str(broker.ssh_port), "-o", f"User={to}", "-b", "-"]
    waiting = subprocess.Popen(["sftp", *options, "127.0.0.1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert waiting.stdin
    waiting.stdin.write(f"put /etc/hostname {tmp_path}/pipe\n".encode())
    waiting.stdin.flush()
    try:
        assert alice.ssh(to, "echo quick").stdout == b"quick\n"
        assert waiting.poll() is None
    finally:
        waiting.kill()
        waiting.communicate()


def test_rsync(alice: Client, broker: Broker, to: str, tmp_path: Path):
    require_program("rsync")
    for name in "abc":
        (tmp_path / "from" / name).mkdir(parents=True)
        (tmp_path / "from" / name / "file").write_text(name)
    shell = f"ssh -F {alice.config} -p {broker.ssh_port} -l {to}"
    done = run(["rsync", "-a", "-e", shell, f"{tmp_path}/from/", f"127.0.0.1:{tmp_path}/to/"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / "c" / "file").read_text() == "c"


def test_git(alice: Client, broker: Broker, to: str, tmp_path: Path):
    require_program("git")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    run([*git, "init", "-q", "--bare", str(tmp_path / "far.git")])
    run([*git, "init", "-q", str(tmp_path / "near")])
    (tmp_path / "near" / "file").write_text("content")
    near = [*git, "-C", str(tmp_path / "near")]
    ssh = f"core.sshCommand=ssh -F {alice.config} -p {broker.ssh_port} -l {to}"
    far = f"ssh://127.0.0.1{tmp_path}/far.git"
    for words in (["add", "file"], ["commit", "-qm", "one"], ["-c", ssh, "push", "-q", far, "main"]):
        done = run([*near, *words])
        assert done.returncode == 0, done.stderr
    done = run([*git, "-c", ssh, "clone", "-q", far, str(tmp_path / "copy")])
    assert done.returncode == 0 and (tmp_path / "copy" / "file").read_text() == "content", done.stderr


def test_end_to_end_does_not_open_it(alice: Client, host: AgentMachine):
    """It takes certificates of its broker and nothing else, unless told otherwise."""
    alice.machines = [host]
    alice.write()
    done = alice.end_to_end(f"{LOGIN}@{host.name}", "id")
    assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr, done.stderr
