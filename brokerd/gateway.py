"""The SSH gateway: one port. The key says who connects; after it has proved itself, its app takes over.

Public keys only. Before authentication everything is answered from memory (`tunnels.directory`). A key that is merely
offered proves nothing: whoever it belongs to counts from `auth_completed` on.
"""

from __future__ import annotations

from typing import Any

import asyncssh
import structlog

from brokerd.conf import Address, ConfigError
from tunnels.agents import AgentConnection, AgentDesk
from tunnels.algorithms import ENCRYPTION, KEX, MAC, SIGNATURES
from tunnels.directory import KnownHost
from tunnels.keys import describe
from tunnels.keystore import gateway_key
from tunnels.registry import CHANNEL_WINDOW

LOGIN_GRACE_S = 30
MAX_CONNECTIONS = 5000
MAX_UNAUTHENTICATED = 100
MAX_TRIES = 6

log = structlog.get_logger(__name__)


class Gateway:
    """`async with Gateway(...)`: listens while inside; on leaving, tunnels are closed and written down."""

    def __init__(self, *, desk: AgentDesk, address: Address, keepalive_s: int) -> None:
        self._desk = desk
        self._address = address
        self._keepalive_s = keepalive_s
        self.unauthenticated = 0
        self.connections = 0

    async def __aenter__(self) -> Gateway:
        try:
            self._acceptor = await asyncssh.listen(
                self._address.host,
                self._address.port,
                server_factory=lambda: Door(self, self._desk),
                server_host_keys=[gateway_key()],
                server_version="brokerd",
                config=None,
                reuse_address=True,
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_host=None,
                x509_trusted_certs=None,
                agent_forwarding=False,
                line_editor=False,
                kex_algs=list(KEX),
                encryption_algs=list(ENCRYPTION),
                mac_algs=list(MAC),
                signature_algs=list(SIGNATURES),
                compression_algs=None,
                login_timeout=LOGIN_GRACE_S,
                keepalive_interval=self._keepalive_s,
                keepalive_count_max=3,
                window=CHANNEL_WINDOW,
                backlog=512,
            )
        except OSError as error:
            raise ConfigError(
                f"the SSH gateway cannot listen on {self._address} ({error.strerror}); "
                "set BROKERD_SSH_BIND to a free address"
            ) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._acceptor.close()
        await self._desk.close()

    @property
    def is_listening(self) -> bool:
        return bool(self._acceptor.sockets)

    @property
    def port(self) -> int:
        return self._acceptor.get_port()


class Door(asyncssh.SSHServer):
    """One SSH connection. AsyncSSH asks; before authentication we answer, afterwards the app whose key it is."""

    def __init__(self, gateway: Gateway, desk: AgentDesk) -> None:
        self._gateway = gateway
        self._desk = desk
        self._candidate: KnownHost | None = None
        self._agent: AgentConnection | None = None
        self._authenticated = False
        self._tries = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._gateway.connections += 1
        self._gateway.unauthenticated += 1
        if self._gateway.unauthenticated > MAX_UNAUTHENTICATED or self._gateway.connections > MAX_CONNECTIONS:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.connections -= 1
        self._gateway.unauthenticated -= not self._authenticated
        if self._agent is not None:
            self._agent.connection_lost(exc)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        # AsyncSSH asks for unsigned offers as well, so this only remembers whose key it would be.
        self._tries += 1
        if self._tries > 2 * MAX_TRIES:  # an honest try is an offer and a signature
            self._connection.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many keys were tried")
            return False
        self._candidate = self._desk.directory.by_fingerprint(describe(key).fingerprint)
        return self._candidate is not None

    def auth_completed(self) -> None:
        self._authenticated = True
        self._gateway.unauthenticated -= 1
        try:
            if self._candidate is not None:
                self._agent = self._desk.welcome(self._connection, self._candidate)
        except Exception:
            # An exception here would end the connection without a word in the log.
            log.exception("agent could not be welcomed")
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "internal error, retry after 30 s")

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        return self._agent.server_requested(listen_host, listen_port) if self._agent else False
