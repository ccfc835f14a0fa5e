"""One SSH connection at the gateway. AsyncSSH asks; before the login we answer, after it the app whose key it is.

A key that is merely offered proves nothing: whoever it belongs to counts from `auth_completed` on.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import asyncssh
import structlog

from brokerd.entry import Offence, Place, Refusal
from brokerd.meter import before_exchange, count_until_login, stop_counting
from terminals.keys import KnownKey
from terminals.ssh.visitor import Visitor
from tunnels.agents import AgentConnection
from tunnels.algorithms import send_no_ignore, suit_dropbear
from tunnels.directory import KnownHost
from tunnels.keys import describe
from tunnels.pairing import Stranger, invited, refused
from tunnels.proof import after_proof
from tunnels.throttle import Throttle

if TYPE_CHECKING:
    from brokerd.gateway import Gateway

LOGIN_GRACE_S = 30
MAX_TRIES = 6
EXCHANGES, EXCHANGE_S = 20, 1.0
"""Key exchanges at once, and one more each so many seconds: the most generous client has one for each gigabyte."""
MAX_REQUESTS = 1000
"""Global requests that wait for their turn, at a look each second."""
MAX_UNSENT = 64 * 1024 * 1024
"""Bytes waiting for an agent to read them: thirty full windows of OpenSSH; beyond, its connection is cut."""
MAX_UNSENT_BEFORE_LOGIN = 256 * 1024
NOT_ALLOWED, EXCEEDED = b"Not allowed at this time\r\n", b"Exceeded MaxStartups\r\n"
"""As sshd says it in place of its version line, so that people and tools know the words."""
BROKEN = (
    asyncssh.ProtocolError,
    asyncssh.ProtocolNotSupported,
    asyncssh.MACError,
    asyncssh.CompressionError,
    asyncssh.IllegalUserName,
    asyncssh.ServiceNotAvailable,
)
"""How AsyncSSH says that a peer does not keep to SSH."""

log = structlog.get_logger(__name__)


class Door(asyncssh.SSHServer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._username = ""
        self._address = ""
        self._candidate: KnownHost | KnownKey | Stranger | None = None
        self._fingerprint = ""
        self._told = ""
        self._agent: AgentConnection | None = None
        self._visitor: Visitor | None = None
        self._identity: object = None
        """Whose it is, once it is logged in."""
        self._place: Place | None = None
        """Held until then."""
        self._offence: Offence | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._tries = 0
        self._exchanges = Throttle(burst=EXCHANGES, refill_s=EXCHANGE_S)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._address = str((conn.get_extra_info("peername") or ("::",))[0])
        admitted = self._gateway.admit(self._address)
        if isinstance(admitted, Refusal):
            self._turn_away(NOT_ALLOWED if admitted == Refusal.PENALTY else EXCEEDED)
            return
        self._place = admitted
        self._gateway.doors.add(self)
        send_no_ignore(conn)
        after_proof(conn, self._admit)
        count_until_login(conn, self._cut_flood)
        before_exchange(conn, self._begin_exchange)
        self._start_clock()

    def _turn_away(self, line: bytes) -> None:
        """Before anything of SSH was said, and without a word in the log: this must cost next to nothing."""
        if (transport := _transport(self._connection)) is not None:
            transport.write(line)
        self._connection.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.doors.discard(self)
        if self._place is not None:
            self._gateway.entry.leave(self._place)
            self._gateway.offend(self._address, self._offence_at(exc))
        if self._identity is not None:
            self._gateway.part(self._identity)
        self._stop_clock()
        stop_counting(self._connection)
        if self._agent is not None:
            self._agent.connection_lost(exc)
        if self._visitor is not None:
            self._visitor.connection_lost()

    def _offence_at(self, exc: Exception | None) -> Offence:
        """What to call it that the connection ended without a login."""
        if self._offence is not None:
            return self._offence
        if isinstance(exc, BROKEN) or (exc is not None and not isinstance(exc, OSError | asyncssh.Error)):
            return Offence.BROKE
        return Offence.FAILED if self._tries > 1 else Offence.LEFT

    def _start_clock(self) -> None:
        self._clock = asyncio.get_running_loop().call_later(LOGIN_GRACE_S, self._be_impatient)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()

    def _be_impatient(self) -> None:
        self._offence = Offence.SILENT
        self._connection.abort()

    def _cut_flood(self) -> None:
        self._offence = Offence.BROKE
        self._connection.abort()

    def _begin_exchange(self) -> None:
        if self._exchanges.take("", time.monotonic()):
            self._offence = Offence.BROKE
            raise asyncssh.ProtocolError("too many key exchanges")
        suit_dropbear(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._username = username
        return True

    def public_key_auth_supported(self) -> bool:
        # Asked for each request of this method and for each failure of any: the one place to count, as AsyncSSH does
        # not. An honest try costs two (offer and failure, or offer and signature), and clients begin with `none`.
        self._tries += 1
        if self._tries > 1 + 2 * MAX_TRIES and self._identity is None:
            self._offence = Offence.TRIED_MANY
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
        place, self._place = self._place, None
        if place is None:
            return False
        self._gateway.entry.leave(place)
        self._stop_clock()
        admitted = None
        try:
            admitted = self._candidate = await self._gateway.pairing.pair(
                self._connection, self._fingerprint, who, shown=self._told
            )
        finally:
            if self in self._gateway.doors:
                self._place = place
                self._gateway.entry.take(place)
                if admitted is None:  # the next try, where it has another key, has as long as any other
                    self._start_clock()
        return admitted is not None

    def auth_completed(self) -> None:
        gateway = self._gateway
        self._stop_clock()
        stop_counting(self._connection)
        if self._place is not None:
            gateway.entry.leave(self._place)
            self._place = None
        self._identity = _identity(self._candidate)
        if not gateway.welcome(self._identity, self._address):
            self._connection.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, "you have too many connections already")
            return
        try:
            match self._candidate:
                case KnownHost() as host:
                    self._agent = gateway.desk.welcome(self._connection, host)
                case KnownKey() as key:
                    self._visitor = gateway.people.welcome(self._connection, key, self._username)
        except Exception:
            # An exception here would end the connection without a word in the log.
            log.exception("connection could not be welcomed")
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "internal error, retry after 30 s")

    def cut_if_it_piles_up(self) -> None:
        """What is sent and not read, and what is asked for and waits for its turn, lies in our memory."""
        transport = _transport(self._connection)
        unsent = transport.get_write_buffer_size() if transport is not None else 0
        if unsent > (MAX_UNSENT if self._identity is not None else MAX_UNSENT_BEFORE_LOGIN):
            self._cut("does not read what it is sent", unsent=unsent)
        elif (asked := len(getattr(self._connection, "_global_request_queue", ()))) > MAX_REQUESTS:
            self._cut("asks for too much at once", asked=asked)

    def _cut(self, reason: str, **figures: int) -> None:
        self._offence = Offence.BROKE
        log.warning(f"connection cut: the peer {reason}", address=self._address, **figures)
        if self._agent is not None:
            self._agent.cut(f"the agent {reason}")
        else:
            self._connection.abort()

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        return self._agent.server_requested(listen_host, listen_port) if self._agent else False

    def session_requested(self) -> Any:
        return self._visitor.session_requested() if self._visitor else False

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        return self._visitor.connection_requested(dest_host, dest_port) if self._visitor else False


def _transport(connection: asyncssh.SSHServerConnection) -> asyncio.WriteTransport | None:
    transport: asyncio.WriteTransport | None = getattr(connection, "_transport", None)
    return transport


def _identity(who: KnownHost | KnownKey | Stranger | None) -> object:
    """Whom a connection belongs to, whatever key it came with."""
    match who:
        case KnownHost() as host:
            return host.id
        case KnownKey() as key:
            return key.person_id
    return ""
