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
from terminals.keys import KnownKey
from terminals.ssh.desk import PeopleDesk
from terminals.ssh.visitor import Visitor
from tunnels.agents import AgentConnection, AgentDesk
from tunnels.algorithms import ENCRYPTION, KEX, MAC, SIGNATURES, send_no_ignore
from tunnels.directory import KnownHost
from tunnels.keys import describe
from tunnels.keystore import gateway_key
from tunnels.pairing import PairingDesk, Stranger, invited, refused
from tunnels.proof import after_proof
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

    def __init__(
        self, *, desk: AgentDesk, people: PeopleDesk, pairing: PairingDesk, address: Address, keepalive_s: int
    ) -> None:
        self.desk = desk
        self.people = people
        self.pairing = pairing
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
                server_factory=lambda: Door(self),
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
                login_timeout=0,  # the door has a clock of its own, which waiting for an approval stops
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
        self.pairing.close()
        await self.people.close()
        await self.desk.close()

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

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._username = ""
        self._address = ""
        self._candidate: KnownHost | KnownKey | Stranger | None = None
        self._fingerprint = ""
        self._told = ""
        self._agent: AgentConnection | None = None
        self._visitor: Visitor | None = None
        self._authenticated = False
        self._tries = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._address = str((conn.get_extra_info("peername") or ("::",))[0])
        send_no_ignore(conn)
        after_proof(conn, self._admit)
        self._gateway.doors.add(self)
        self._gateway.unauthenticated += 1
        self._clock = asyncio.get_running_loop().call_later(LOGIN_GRACE_S, conn.abort)
        if self._gateway.unauthenticated > MAX_UNAUTHENTICATED or self._gateway.connections > MAX_CONNECTIONS:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.doors.discard(self)
        self._gateway.unauthenticated -= not self._authenticated
        self._clock.cancel()
        if self._agent is not None:
            self._agent.connection_lost(exc)
        if self._visitor is not None:
            self._visitor.connection_lost()

    def begin_auth(self, username: str) -> bool:
        self._username = username
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
        described = describe(key)
        self._fingerprint = described.fingerprint
        gateway = self._gateway
        known = gateway.desk.directory.by_fingerprint(described.fingerprint)
        self._candidate = known or gateway.people.keyring.by_fingerprint(described.fingerprint)
        if self._candidate is None:
            asks = gateway.pairing.consider(username, described.line, self._address)
            if isinstance(asks, str):
                self._tell(refused(asks))
            else:
                self._candidate = asks
        if (newcomer := self._newcomer()) is not None:
            self._tell(invited(newcomer, self._fingerprint, self._connection))
        return self._candidate is not None

    def _newcomer(self) -> Stranger | KnownHost | None:
        """The candidate, where it is for an admin to let it in."""
        match self._candidate:
            case Stranger() as stranger:
                return stranger
            case KnownHost() as host if self._gateway.pairing.may_wait(host):
                return host
        return None

    def _tell(self, banner: str) -> None:
        """Once: a key is offered and then proved, and a client may have several that are refused alike."""
        if banner != self._told:
            self._told = banner
            self._connection.send_auth_banner(banner)

    async def _admit(self) -> bool:
        """Whether the login succeeds, now that the key has proved itself. A machine that nobody knows waits here."""
        if (who := self._newcomer()) is None:
            return True
        # It has a place among those who wait, and neither holds one of those who log in nor is pressed for time.
        self._gateway.unauthenticated -= 1
        self._clock.cancel()
        admitted = None
        try:
            admitted = self._candidate = await self._gateway.pairing.pair(
                self._connection, self._fingerprint, who, shown=self._told
            )
        finally:
            self._gateway.unauthenticated += 1
            if admitted is None:  # the next try, where it has another key, has as long as any other
                self._clock = asyncio.get_running_loop().call_later(LOGIN_GRACE_S, self._connection.abort)
        return admitted is not None

    def auth_completed(self) -> None:
        self._authenticated = True
        self._gateway.unauthenticated -= 1
        self._clock.cancel()
        try:
            match self._candidate:
                case KnownHost() as host:
                    self._agent = self._gateway.desk.welcome(self._connection, host)
                case KnownKey() as key:
                    self._visitor = self._gateway.people.welcome(self._connection, key, self._username)
        except Exception:
            # An exception here would end the connection without a word in the log.
            log.exception("connection could not be welcomed")
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

    def session_requested(self) -> Any:
        return self._visitor.session_requested() if self._visitor else False

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        return self._visitor.connection_requested(dest_host, dest_port) if self._visitor else False
