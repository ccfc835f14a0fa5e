"""A real broker in a process of its own, on free ports of loopback, and its people."""

from __future__ import annotations

import asyncio
import atexit
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("TEST_PATIENCE", "1"))
"""All deadlines, for slow machines."""
PEOPLE = ("alice", "bob", "charlie", "dora", "auditor", "admin")
"""bob is in the group ops, dora is there to be disabled."""
PASSWORD = "correct horse battery"
SEED = """
import json
from django.contrib.auth.models import Group
from terminals.api_tokens import create_api_token
from terminals.people import create_person, find_person, set_roles
from tunnels.audit import OPERATOR
tokens = {}
for name in %r:
    person = create_person(
        name=name, password=%r, admin=name == "admin", auditor=name == "auditor", actor=OPERATOR
    )
    tokens[name] = create_api_token(person=person, name="test", scopes=[], expires_at=None, actor=OPERATOR)[1]
ops = Group.objects.create(name="ops")
set_roles(person=find_person("bob"), admin=False, groups=[ops], actor=OPERATOR)
print("tokens " + json.dumps(tokens))
"""


def until(probe: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """The first true answer of `probe`; AssertionError after one scaled deadline."""
    deadline = time.monotonic() + seconds * SCALE
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


async def soon(probe: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """`until`, for tests that have a terminal open: it goes on reading meanwhile."""
    return await asyncio.to_thread(until, probe, what, seconds)


def free_port() -> int:
    """Below those that the kernel gives to clients: nobody takes it before its server does."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Broker:
    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    web_port: int = field(default_factory=free_port)
    ssh_port: int = field(default_factory=free_port)
    tokens: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    command: tuple[str, ...] = ("manage.py", "serve")

    @property
    def url(self) -> str:
        return self.settings.get("BROKERD_PUBLIC_URL") or f"http://127.0.0.1:{self.web_port}"

    @property
    def log(self) -> Path:
        return self.data_dir / "broker.log"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BROKERD_")}
        return {
            **kept,
            "BROKERD_DATA_DIR": str(self.data_dir),
            "BROKERD_WEB_BIND": f"127.0.0.1:{self.web_port}",
            "BROKERD_SSH_BIND": f"127.0.0.1:{self.ssh_port}",
            "BROKERD_OPEN_ENROLLMENT": "1",
            **self.settings,
        }

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            text=True,
            capture_output=True,
            check=check,
            timeout=60 * SCALE,
        )

    def do(self, *lines: str) -> str:
        """Run acts in a process of their own, as a management command would."""
        return self.manage("shell", "--no-imports", "-c", "\n".join(lines)).stdout

    def seed(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        printed = self.do(SEED % (PEOPLE, PASSWORD))
        self.tokens = json.loads(printed.split("tokens ", 1)[1])

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command], cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )
        until(self.is_ready, f"broker is up; see {self.log}", 60)

    def is_ready(self) -> bool:
        assert self.process and self.process.poll() is None, self.log.read_text()
        try:
            return self.call("GET", "/readyz").status == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(30 * SCALE)

    def call(
        self, method: str, path: str, body: Any = None, person: str | None = None, source: str = "", **headers: str
    ) -> Answer:
        """One HTTP request; `person` sends that person's API token, `source` is the address to come from.

        Never raises for a status.
        """
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        if person:
            headers["Authorization"] = f"Bearer {self.tokens[person]}"
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        headers.setdefault("Host", urlsplit(self.url).netloc)
        headers.setdefault("X-Forwarded-Proto", urlsplit(self.url).scheme)  # a proxy's word, where one is trusted
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.web_port, timeout=20 * SCALE, source_address=(source, 0) if source else None
        )
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, person: str = "admin", status: int = 200) -> Any:
        """A REST call that must answer `status`; its JSON."""
        answer = self.call(method, "/api/v1" + path, body, person)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json if answer.body else None

    def host(self, name: str, person: str = "alice") -> dict[str, Any]:
        return self.api("GET", f"/hosts/{name}", person=person)

    def is_online(self, name: str) -> bool:
        """As an admin sees it, whoever may reach it."""
        hosts = self.api("GET", "/hosts?state=approved&limit=1000")["items"]
        return any(host["name"] == name and host["online"] for host in hosts)

    def audit(self, event: str) -> list[dict[str, Any]]:
        return self.api("GET", f"/audit?event={event}&limit=1000", person="auditor")["items"]

    def session(self, session_id: str) -> dict[str, Any]:
        """A terminal session's row, as an auditor sees it."""
        return self.api("GET", f"/sessions/{session_id}", person="auditor")

    def ended(self, session_id: str) -> dict[str, Any]:
        """The same once its end is written down, which people may hear of first."""

        def look() -> dict[str, Any] | None:
            row = self.session(session_id)
            return row if row["state"] == "ended" else None

        return until(look, f"the end of {session_id} is written down")

    def listening(self) -> set[tuple[str, int]]:
        """Addresses and ports on which the broker process listens, whatever it says itself."""
        assert self.process
        lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
        ours = [line.split()[3] for line in lines if f"pid={self.process.pid}," in line]
        return {(address, int(port)) for address, _, port in (place.rpartition(":") for place in ours)}

    def rss(self) -> int:
        """Resident bytes of the broker process."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@cache
def _template() -> Broker:
    """A migrated data directory with its people, made once: brokers start from a copy."""
    folder = Path(tempfile.mkdtemp(prefix="brokerd-story-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    template = Broker(folder)
    template.seed()
    return template


def copy_of_template(data_dir: Path, **settings: str) -> Broker:
    """A broker with its people on a data directory of its own, not started."""
    template = _template()
    shutil.copytree(template.data_dir, data_dir, dirs_exist_ok=True)
    return Broker(data_dir, settings, tokens=dict(template.tokens))


@contextmanager
def running(data_dir: Path, *command: str, **settings: str) -> Iterator[Broker]:
    """`copy_of_template`, started; `command` in place of `manage.py serve`."""
    broker = copy_of_template(data_dir, **settings)
    broker.command = command or broker.command
    broker.start()
    try:
        yield broker
    finally:
        if broker.process and broker.process.poll() is None:
            broker.stop()
