"""A broker in miniature for the agent's tests: a gateway that holds tunnels, a portal that enrolls, a CA that signs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh

from tunnels.agent.account import own_account
from tunnels.agent.backoff import Pace

from .waiting import patient, until

TUNNEL_PORT = 22100
QUICK = Pace(first_retry=0.02, longest_retry=0.1, settled=60, poll=0.05, dormant=0.1, connect=30, hangup=0.5)


def line_of(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


class _Listener(asyncssh.SSHListener):
    """Stands for a tunnel port that nobody binds."""

    def get_port(self) -> int:
        return TUNNEL_PORT

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


class _Agents(asyncssh.SSHServer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self.gateway.admits(username, key)

    def auth_completed(self) -> None:
        self.gateway.connected += 1
        if self.gateway.farewell:
            self.conn.disconnect(self.gateway.farewell_code, self.gateway.farewell)

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        if (listen_host, listen_port) != ("localhost", TUNNEL_PORT) or self.gateway.refuses_forward:
            self.conn.send_debug(self.gateway.refuses_forward, always_display=True)
            return False
        self.gateway.tunnel = self.conn
        return _Listener()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gateway.endings.append(exc)
        if self.gateway.tunnel is self.conn:
            self.gateway.tunnel = None


class Gateway:
    """Accepts `admits(username, key)` and their tunnel, and dials hosts through it."""

    def __init__(self) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.authority = asyncssh.generate_private_key("ssh-ed25519")
        self.admits: Callable[[str, asyncssh.SSHKey], bool] = lambda username, key: True
        self.farewell = ""
        self.farewell_code = asyncssh.DISC_BY_APPLICATION
        self.refuses_forward = ""
        self.tunnel: asyncssh.SSHServerConnection | None = None
        self.connected = 0
        self.endings: list[Exception | None] = []
        self.originator = "127.0.0.1"
        self.window = 2 * 1024 * 1024
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self.port = 0

    async def start(self) -> None:
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Agents(self),
            server_host_keys=[self.key],
            gss_host=None,
            password_auth=False,
            kbdint_auth=False,
        )
        self.port = self._acceptor.get_port()

    def stop(self) -> None:
        if self._acceptor:
            self._acceptor.close()
        if self.tunnel:
            self.tunnel.abort()

    async def up(self) -> asyncssh.SSHServerConnection:
        return await until(lambda: self.tunnel, "the tunnel")

    # -- dialling: what AsyncSSH wants of a `tunnel`

    async def create_connection(self, factory: Any, host: str, port: int) -> Any:
        tunnel = await self.up()
        return await tunnel.create_connection(
            factory, "localhost", TUNNEL_PORT, self.originator, 12345, window=self.window
        )

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass

    # -- logging in to the host

    def certificate(self, key: asyncssh.SSHKey, **changes: Any) -> asyncssh.SSHCertificate:
        facts: dict[str, Any] = {
            "principals": [own_account().login],
            "valid_after": "-1m",
            "valid_before": "+5m",
            "source_address": ["127.0.0.0/8", "::1/128"],
            "permit_x11_forwarding": False,
            "permit_agent_forwarding": False,
            "permit_port_forwarding": False,
        }
        authority = changes.pop("authority", self.authority)
        return authority.generate_user_certificate(key, "alice/session-1", **{**facts, **changes})

    async def log_in(self, *, username: str | None = None, **changes: Any) -> asyncssh.SSHClientConnection:
        """An SSH connection to the login shell, as the broker makes it."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        certificate = self.certificate(key, **changes)
        return await self.connect(username=username, client_keys=[(key, certificate)])

    async def connect(self, *, username: str | None = None, **options: Any) -> asyncssh.SSHClientConnection:
        async with patient():
            return await asyncssh.connect(
                "localhost",
                TUNNEL_PORT,
                tunnel=self,
                username=username or own_account().login,
                config=None,
                agent_path=None,
                x509_trusted_certs=None,
                gss_host=None,
                **{"known_hosts": None, "encryption_algs": ["aes128-gcm@openssh.com"], **options},
            )


class Portal:
    """The enrollment part of the REST API, on loopback, in a thread, as the tests set it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.state = "pending"
        self.poll_token = "poll-secret"
        self.id = "e1"
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.answer_with: tuple[int, dict[str, Any], dict[str, str]] | None = None
        """Overrides every answer: status, body, headers."""
        self.refuse_to_enroll = ""
        self.clock_ahead_s = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def enrollments(self) -> list[dict[str, Any]]:
        return [body for method, _, body in self.requests if method == "POST"]

    def looks(self) -> int:
        return sum(method == "GET" for method, _, _ in self.requests)

    def answer(self, method: str, path: str, bearer: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        if self.answer_with:
            return self.answer_with
        if (method, path) == ("GET", "/healthz"):
            return 200, {}, {}
        if (method, path) == ("POST", "/api/v1/enrollments") and self.refuse_to_enroll:
            return 403, {"detail": self.refuse_to_enroll}, {}
        if (method, path) == ("POST", "/api/v1/enrollments"):
            return 201, {**self.document(), "poll_token": self.poll_token}, {}
        if (method, path) != ("GET", f"/api/v1/enrollments/{self.id}"):
            return 404, {"detail": "not found"}, {}
        if bearer != f"Bearer {self.poll_token}":
            return 401, {"detail": "wrong token"}, {}
        return 200, self.document(), {}

    def document(self) -> dict[str, Any]:
        body = self.enrollments()[-1] if self.enrollments() else {}
        return {
            "id": self.id,
            "name": body.get("name", "web1"),
            "state": self.state,
            "tunnel_port": TUNNEL_PORT,
            "login": body.get("login", ""),
            "fingerprint": "SHA256:fingerprint",
            "code": "ABCD-EFGH",
            "ca_public_key": line_of(self.gateway.authority),
            "gateway": {"host": "127.0.0.1", "port": self.gateway.port, "host_keys": [line_of(self.gateway.key)]},
        }

    def _handler(portal: Portal) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._reply("POST", json.loads(body))

            def do_GET(self) -> None:
                self._reply("GET", {})

            def _reply(self, method: str, body: dict[str, Any]) -> None:
                portal.requests.append((method, self.path, body))
                status, answer, headers = portal.answer(method, self.path, self.headers.get("Authorization", ""))
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(time.time() + portal.clock_ahead_s, usegmt=True)

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler


@asynccontextmanager
async def gateway_running() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    await gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
