"""A whole machine for `/install.sh`, root included: namespaces with an /etc, homes and processes of their own.

Programs come from this system; `bin` says which ones the machine has. Ends with everything that was started in it.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event, Thread

from tests.needs import missing
from tests.story.broker import SCALE, Broker, free_port, until
from tests.story.machine import PROFILE, keygen

GUEST = "guest"
UID = 5000
TOOLS = [
    *(
        "sh",
        "awk",
        "sed",
        "tr",
        "cut",
        "cat",
        "grep",
        "sort",
        "cmp",
        "cp",
        "mv",
        "rm",
        "rmdir",
        "mkdir",
        "mktemp",
        "chmod",
    ),
    *("chown", "id", "hostname", "uname", "sleep", "tail", "wc", "od", "date", "setsid", "su"),
]
"""What an ordinary system has beside a shell; the script needs no more."""
OPENSSH = ("ssh", "ssh-keygen", "ssh-keyscan")
DROPBEAR = ("dbclient", "dropbearkey")
OURS = "brokerd-tunnel"
SYSTEMCTL = Path(__file__).with_name("systemctl.sh")
"""Stands in for systemd, which does not run where tests do."""
CHANGES_WITH_ACCOUNTS = {"passwd-", "shadow-", "group-", "gshadow-", "subuid-", "subgid-", ".pwd.lock"}
"""Copies that useradd and userdel keep of what they change."""
_numbers = count(1)


@dataclass
class Sandbox:
    """`shell`: dash or busybox, which then is the machine's /bin/sh and all its tools; `client`: whose ssh it has."""

    folder: Path
    broker: Broker
    shell: str = "dash"
    fetcher: str = "curl"
    client: tuple[str, ...] = OPENSSH
    systemd: bool = False
    drop_ins: bool = True
    """Whether its sshd_config includes a folder."""
    port: int = field(default_factory=free_port)
    name: str = field(default_factory=lambda: f"box{next(_numbers)}")
    seen: set[str] = field(default_factory=set)
    """Command lines of all processes that ran while `watched`."""

    def __post_init__(self) -> None:
        self.etc, self.home, self.root, self.bin = (self.folder / part for part in ("etc", "home", "root", "bin"))
        self.folder.mkdir(mode=0o755)
        copy_of_etc(self.etc)
        for part, mode in (("home", 0o755), ("root", 0o700), ("bin", 0o755), ("tmp", 0o1777), ("run", 0o755)):
            (self.folder / part).mkdir()
            (self.folder / part).chmod(mode)
        self._fill_bin()
        self._make_accounts()
        self._configure_sshd()
        self.calls.touch()
        self.calls.chmod(0o666)
        if self.systemd:
            (self.folder / "run/systemd/system").mkdir(parents=True)

    def _fill_bin(self) -> None:
        applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
        for tool in (*TOOLS, *self.client, self.fetcher):
            if self._is_applet(tool) and tool not in applets:
                continue  # Debian's has no su
            program = shutil.which("busybox" if self._is_applet(tool) else tool)
            if program is None:
                missing(f"{tool} is missing: see tools/test_needs.sh")
            if tool == "sh":
                (self.bin / tool).symlink_to(program)
                continue
            name = f"{program} {tool}" if self._is_applet(tool) else program
            (self.bin / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>/run/calls\nexec {name} "$@"\n')
            (self.bin / tool).chmod(0o755)
        if self.systemd:
            shutil.copy(SYSTEMCTL, self.bin / "systemctl")

    def _is_applet(self, tool: str) -> bool:
        if tool == "wget":
            return self.fetcher == "wget" and self.shell == "busybox"
        return self.shell == "busybox" and tool in TOOLS

    def _make_accounts(self) -> None:
        """A guest beside root; neither has a shell that keeps a history."""
        passwd = (self.etc / "passwd").read_text().splitlines()
        kept = [line for line in passwd if line.split(":")[0] not in ("root", GUEST, OURS)]
        lines = ["root:x:0:0:root:/root:/bin/sh", *kept, f"{GUEST}:x:{UID}:{UID}::/home/{GUEST}:/bin/sh"]
        (self.etc / "passwd").write_text("\n".join(lines) + "\n")
        with (self.etc / "shadow").open("a") as shadow:
            shadow.write(f"{GUEST}:*:19000:0:99999:7:::\n")
        with (self.etc / "group").open("a") as group:
            group.write(f"{GUEST}:x:{UID}:\n")
        with (self.etc / "gshadow").open("a") as group:
            group.write(f"{GUEST}:!::\n")
        home = self.home / GUEST
        home.mkdir(mode=0o755)
        for folder in (home, self.root):
            (folder / ".profile").write_text(PROFILE)
        for path in (home, home / ".profile"):
            os.chown(path, UID, UID)

    def _configure_sshd(self) -> None:
        ssh = self.etc / "ssh"
        (ssh / "sshd_config.d").mkdir(parents=True)
        self.host_key = keygen(ssh / "ssh_host_ed25519_key")
        lines = [
            *(["Include /etc/ssh/sshd_config.d/*.conf"] if self.drop_ins else []),
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            "HostKey /etc/ssh/ssh_host_ed25519_key",
            "PidFile /run/sshd.pid",
            "UsePAM no",
            "PasswordAuthentication no",
            "PrintMotd no",
            "PrintLastLog no",
            "Subsystem sftp internal-sftp",
            # What stands at the end of a configuration is often a block of its own.
            "Match User nobody",
            "    X11Forwarding no",
        ]
        (ssh / "sshd_config").write_text("\n".join(lines) + "\n")

    # Its life

    def start(self) -> None:
        mounts = [
            "mount --make-rprivate /",
            *(f"mount --bind {self.folder}/{part} /{part}" for part in ("etc", "home", "root", "run")),
            f"mount --bind {self.bin} /mnt",
            # /bin/sh is what scripts are run by that were written on the machine.
            *(["mount --bind $(command -v busybox) $(readlink -f /bin/sh)"] if self.shell == "busybox" else []),
            f"mount --bind {self.folder}/tmp /tmp",
            "mkdir -p /run/sshd",
            "touch /run/ready",
            # The first process of the namespace: a shell that waits takes in whoever lost its parent.
            "while :; do sleep 0.2; done",
        ]
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec"]
        self._holder = subprocess.Popen([*command, "\n".join(mounts)], stderr=subprocess.PIPE, text=True)
        self._init = until(self._first_process, "the namespaces are there")
        self.run("/usr/sbin/sshd")
        until((self.folder / "run/sshd.pid").exists, "its sshd is up")

    def _first_process(self) -> str:
        if self._holder.poll() is not None:
            assert self._holder.stderr
            missing(f"a machine of its own needs root and namespaces: {self._holder.stderr.read()}")
        holder = self._holder.pid
        children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
        return children[0] if children and (self.folder / "run/ready").exists() else ""

    def stop(self) -> None:
        self._holder.kill()
        self._holder.wait()

    # What happens on it

    def run(self, command: str, *, user: str = "root", check: bool = True, **environ: str) -> str:
        """What a shell command of `user` prints, errors included; fails with it where it fails and `check` is set."""
        done = self.start_command(command, user, environ)
        printed = done.communicate(timeout=60 * SCALE)[0]
        assert not check or done.returncode == 0, printed
        assert check or done.returncode != 0, printed
        return printed

    def start_command(self, command: str, user: str, environ: Mapping[str, str]) -> subprocess.Popen[str]:
        enter = ["nsenter", "-t", self._init, "-m", "-p", "--wd=/"]
        home = "/root"
        if user != "root":
            home = f"/home/{user}"
            enter += ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
        given = {"PATH": "/mnt", "HOME": home, **environ}
        shell = [shutil.which(self.shell) or "sh", *(["sh"] if self.shell == "busybox" else []), "-c", command]
        return subprocess.Popen(
            [*_absolute(enter), *shell],
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def install(self, *options: str, user: str = "root", check: bool = True, **environ: str) -> str:
        """As the README says: the script comes through a pipe."""
        return self.run(self.command(*options), user=user, check=check, **environ)

    def command(self, *options: str) -> str:
        fetch = "curl -fsS" if self.fetcher == "curl" else "wget -qO-"
        return f"{fetch} {self.broker.url}/install.sh | sh -s -- {shlex.join(options)}"

    @property
    def ways(self) -> list[str]:
        """The options by which it is enrolled."""
        return ["--name", self.name, "--port", str(self.port)]

    # What is on it

    @property
    def calls(self) -> Path:
        """Every command that was run by its name in the PATH, with its arguments."""
        return self.folder / "run/calls"

    def files(self) -> dict[str, tuple[int, int, bytes]]:
        """All that can be changed: path to mode, owner and content."""
        parts = [self.folder / part for part in ("etc", "home", "root", "run", "tmp")]
        found = {}
        for path in sorted(path for part in parts for path in part.rglob("*")):
            if path.name in CHANGES_WITH_ACCOUNTS or path == self.calls:
                continue
            try:
                facts = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
            except FileNotFoundError:
                continue  # a process that runs there has removed it meanwhile
            found[str(path.relative_to(self.folder))] = (facts.st_mode, facts.st_uid, content)
        return found

    @contextmanager
    def watched(self) -> Iterator[set[str]]:
        """Collects the command lines of all its processes meanwhile."""
        done = Event()
        watcher = Thread(target=self._watch, args=(done,))
        watcher.start()
        try:
            yield self.seen
        finally:
            done.set()
            watcher.join()

    def _watch(self, done: Event) -> None:
        ours = Path(f"/proc/{self._init}/ns/pid").readlink()
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if (process / "ns/pid").readlink() != ours:
                        continue
                    self.seen.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it has ended
            time.sleep(0.002)

    def wait_online(self, online: bool = True) -> None:
        until(lambda: self.broker.is_online(self.name) is online, f"{self.name} online is {online}", 60)


def copy_of_etc(folder: Path, etc: str = "/etc") -> None:
    """Without what goes while it is copied: whoever installs packages meanwhile has files there that come and go."""
    try:
        shutil.copytree(etc, folder, symlinks=True, ignore=shutil.ignore_patterns("ssh"))
    except shutil.Error as error:
        wrong = [failure for failure in error.args[0] if not failure[2].startswith(f"[Errno {errno.ENOENT}]")]
        if wrong:
            raise shutil.Error(wrong) from error


def _absolute(command: list[str]) -> list[str]:
    """Its programs by their places: the machine's own PATH may have none of them."""
    return [shutil.which(part) or part if part in ("nsenter", "setpriv") else part for part in command]


@contextmanager
def sandbox(folder: Path, broker: Broker, **facts: object) -> Iterator[Sandbox]:
    made = Sandbox(folder / "box", broker, **facts)  # type: ignore[arg-type]
    made.start()
    try:
        yield made
    finally:
        made.stop()
