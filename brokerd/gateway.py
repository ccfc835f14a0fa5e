"""The SSH gateway: one port. The key says who connects; after it has proved itself, its app takes over.

Public keys only. Before authentication everything is answered from memory (`tunnels.directory`). A key that is merely
offered proves nothing: whoever it belongs to counts from `auth_completed` on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
import structlog

from brokerd.conf import Address, ConfigError
from tunnels.agents import AgentConnection, AgentDesk
from tunnels.algorithms import ENCRYPTION, KEX, MAC, SIGNATURES, send_no_ignore
from tunnels.directory import KnownHost
from tunnels.keys import describe
from tunnels.keystore import gateway_key
from tunnels.registry import CHANNEL_WINDOW

LOGIN_GRACE_S = 30
MAX_CONNECTIONS = 5000
MAX_UNAUTHENTICATED = 100
MAX_TRIES = 6
MAX_UNSENT = 64 * 1024 * 1024
"""Bytes waiting for an agent to read them: thirty full windows of OpenSSH; beyond, its connection is cut."""
MAX_UNSENT_BEFORE_LOGIN = 256 * 1024
WATCH_S = 1.0

log = structlog.get_logger(__name__)


class Gateway:
    """`async with Gateway(...)`: listens while inside; on leaving, tunnels are closed and written down."""

    def __init__(self, *, desk: AgentDesk, address: Address, keepalive_s: int) -> None:
        self._desk = desk
        self._address = address
        self._keepalive_s = keepalive_s
        self.unauthenticated = 0
        self.doors: set[Door] = set()

    @property
    def connections(self) -> int:
        return len(self.doors)

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
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._acceptor.close()
        self._watcher.cancel()
        await self._desk.close()

    async def _watch(self) -> None:
        """AsyncSSH writes on whether or not the peer reads, as far as the windows go that the peer itself names."""
        while True:
            await asyncio.sleep(WATCH_S)
            for door in list(self.doors):
                door.cut_if_unread()

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
        send_no_ignore(conn)
        self._gateway.doors.add(self)
        self._gateway.unauthenticated += 1
        if self._gateway.unauthenticated > MAX_UNAUTHENTICATED or self._gateway.connections > MAX_CONNECTIONS:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.doors.discard(self)
        self._gateway.unauthenticated -= not self._authenticated
        if self._agent is not None:
            self._agent.connection_lost(exc)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        # Asked for each request of this method and for each failure of any: the one place to count, as AsyncSSH does
        # not. An honest try costs two (offer and failure, or offer and signature), and clients begin with `none`.
        self._tries += 1
        if self._tries > 1 + 2 * MAX_TRIES and not self._authenticated:
            self._connection.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many keys were tried")
            return False
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        # AsyncSSH asks for unsigned offers as well, so this only remembers whose key it would be.
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

    def cut_if_unread(self) -> None:
        transport = getattr(self._connection, "_transport", None)
        unsent = transport.get_write_buffer_size() if transport is not None else 0
        if unsent > (MAX_UNSENT if self._authenticated else MAX_UNSENT_BEFORE_LOGIN):
            log.warning("connection cut: the peer does not read", unsent=unsent)
            if self._agent is not None:
                self._agent.cut("the agent does not read what it is sent")
            else:
                self._connection.abort()

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        return self._agent.server_requested(listen_host, listen_port) if self._agent else False
