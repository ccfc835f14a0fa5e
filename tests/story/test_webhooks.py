"""Webhooks of a real broker: a receiver in another thread, and a kill -9 in the middle of telling it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from terminals.webhooks.signing import sign
from tests.machines.helpers import key_line
from tests.story.broker import SCALE, Broker, running, until


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    hangs = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages: list[tuple[str, bytes]] = []
        """Signature and body."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def told(self) -> list[str]:
        """Events and hosts, without repetitions."""
        bodies = [json.loads(body) for _, body in list(self.messages)]
        return list(dict.fromkeys(f"{body['event']} {body['host']}" for body in bodies))


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.append((self.headers["Brokerd-Signature"], body))
        if self.server.hangs:
            time.sleep(60)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def there() -> Iterator[Receiver]:
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    yield receiver
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path / "data") as broker:
        yield broker


def add_hook(broker: Broker, receiver: Receiver) -> str:
    events = ["host.enrolled", "host.approved"]
    body = {"name": "chat", "url": receiver.url, "events": events, "allow_private": True}
    return str(broker.api("POST", "/webhooks", body, status=201)["secret"])


def enroll(broker: Broker, name: str) -> None:
    body = {"name": name, "public_key": key_line(f"agent of {name}"), "host_keys": [key_line(f"sshd of {name}")]}
    fingerprint = broker.api("POST", "/enrollments", body, status=201)["fingerprint"]
    broker.api("POST", f"/hosts/{name}/approve", {"fingerprint": fingerprint})


def test_told_signed_and_in_order(alone: Broker, there: Receiver):
    secret = add_hook(alone, there)
    enroll(alone, "web1")
    enroll(alone, "web2")
    expected = [f"{event} {name}" for name in ("web1", "web2") for event in ("host.enrolled", "host.approved")]
    until(lambda: there.told() == expected, "all is told")
    for signature, body in there.messages:
        at = int(signature.partition(",")[0].removeprefix("t="))
        assert signature == sign(secret, body, at)
    assert secret not in alone.log.read_text()
    assert secret.encode() not in b"".join(path.read_bytes() for path in alone.data_dir.rglob("*") if path.is_file())


def test_killed_in_the_middle_of_telling(alone: Broker, there: Receiver):
    add_hook(alone, there)
    there.hangs = True
    enroll(alone, "web1")
    until(lambda: there.messages, "the receiver has one in its hands")
    enroll(alone, "web2")
    assert alone.call("GET", "/healthz").status == 200, "the broker does not wait for it"
    alone.stop(signal.SIGKILL)
    there.hangs = False
    alone.start()
    enroll(alone, "web3")
    expected = [f"{event} web{number}" for number in (1, 2, 3) for event in ("host.enrolled", "host.approved")]
    until(lambda: there.told() == expected, "nothing is lost, and the order holds")
    time.sleep(1)
    assert len(there.messages) == len(expected) + 1, "only the one that was not answered comes twice"


def test_stopping_does_not_wait_for_a_receiver(alone: Broker, there: Receiver):
    add_hook(alone, there)
    there.hangs = True
    enroll(alone, "web1")
    until(lambda: there.messages, "the receiver has one in its hands")
    begun = time.monotonic()
    assert alone.stop() == 0
    assert time.monotonic() - begun < 20 * SCALE, "and it would answer after 60 s"
