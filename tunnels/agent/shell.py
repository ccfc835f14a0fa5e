"""The login shell: an SSH server inside the tunnel, for machines without sshd and for users without root.

It lets in whoever shows a user certificate that the broker's CA, pinned at first contact, signed for the very account
that the agent runs as; or, with a list of keys of the machine's own, whoever has one of those, and then nobody by the
broker's certificate. Nothing else opens it, and nothing but shells, commands and file transfers is served.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncssh

from tunnels.agent.algorithms import ENCRYPTION, KEX
from tunnels.agent.keylist import NAME_OPTION, KeyList
from tunnels.agent.session import Session, Sessions
from tunnels.agent.valve import Link, Valve

logger = logging.getLogger(__name__)

WINDOW = 128 * 1024
MAX_CONNECTIONS = 100
LOGIN_S = 20
OWN_LIST = "this machine takes only its own list of keys: use ssh -J"
RESTRICTIONS = "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-user-rc"


def trusted_authorities(lines: Iterable[str], login: str) -> asyncssh.SSHAuthorizedKeys:
    """Who may log in, as the lines that sshd would have in `authorized_keys`.

    The `principals` option matters: without it AsyncSSH takes a certificate that names no principal for anybody's.
    """
    options = f'cert-authority,principals="{login}",{RESTRICTIONS}'
    return asyncssh.import_authorized_keys("".join(f"{options} {line}\n" for line in lines))


class Guard(Protocol):
    """Who may log in."""

    def admitted(self) -> asyncssh.SSHAuthorizedKeys | None:
        """Asked once for each login, as late as can be; None for nobody."""

    def farewell(self, authority: asyncssh.SSHKey) -> str:
        """What to tell who shows a certificate of an authority that is not admitted; empty: nothing."""


class BrokersGuard:
    """Whoever the broker has made a certificate for. `authorities` is asked at each login: they may change."""

    def __init__(self, authorities: Callable[[], Iterable[str]], login: str) -> None:
        self._authorities = authorities
        self._login = login

    def admitted(self) -> asyncssh.SSHAuthorizedKeys:
        return trusted_authorities(self._authorities(), self._login)

    def farewell(self, authority: asyncssh.SSHKey) -> str:
        return ""


class ListGuard:
    """Whoever is on the machine's own list, whatever the broker says."""

    def __init__(self, keys: KeyList) -> None:
        self._keys = keys
        self._broker = asyncssh.import_public_key(keys.broker_authority)

    def admitted(self) -> asyncssh.SSHAuthorizedKeys | None:
        return self._keys.read(datetime.now(UTC))

    def farewell(self, authority: asyncssh.SSHKey) -> str:
        return OWN_LIST if authority == self._broker else ""


class _Door(asyncssh.SSHServer):
    """One connection. Everything that is not overridden here is refused by AsyncSSH's defaults."""

    def __init__(self, sessions: Sessions, guard: Guard) -> None:
        self._sessions = sessions
        self._guard = guard
        self._conn: asyncssh.SSHServerConnection
        self._certified = ""
        """The person in the certificate's key id; empty where there was none."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        note_certificate(conn, self._show)

    def _show(self, key_id: str) -> None:
        """What was shown last is what gets in, if it gets in."""
        self._certified = key_id.partition(" session ")[0]

    def begin_auth(self, username: str) -> bool:
        """Always True: False would let `username` in unasked. For another login no key is authorised at all."""
        if username == self._sessions.account.login and (admitted := self._guard.admitted()) is not None:
            self._conn.set_authorized_keys(admitted)
        return True

    def public_key_auth_supported(self) -> bool:
        """Even where nobody is admitted: who comes learns nothing of that from the methods."""
        return True

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Only asked about authorities that are not admitted."""
        if farewell := self._guard.farewell(key):
            self._conn.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, farewell)
        return False

    def session_requested(self) -> Session:
        link: Link = self._conn.get_extra_info("link")
        return Session(self._sessions, link.valve, self._who())

    def _who(self) -> str:
        """As the certificate names them, else as the machine's own list does."""
        named = self._conn.get_key_option(NAME_OPTION)
        who = self._certified or (named[0] if isinstance(named, list) else "")
        return "".join(letter for letter in who if letter.isprintable())[:64] or "somebody"


def note_certificate(conn: asyncssh.SSHServerConnection, note: Callable[[str], None]) -> None:
    """Calls `note` with the key id of each certificate that is accepted, and with nothing for each plain key.

    AsyncSSH keeps no key id and has no callback that sees it, hence its two private steps, for this connection only.
    """
    of_certificate, of_key = conn._validate_openssh_certificate, conn._validate_client_public_key

    async def certificate(username: str, shown: Any) -> asyncssh.SSHKey | None:
        if (key := await of_certificate(username, shown)) is not None:
            note(str(shown._key_id))
        return key

    async def plain(username: str, shown: bytes) -> asyncssh.SSHKey | None:
        if (key := await of_key(username, shown)) is not None:
            note("")
        return key

    conn._validate_openssh_certificate = certificate  # type: ignore[method-assign, assignment]
    conn._validate_client_public_key = plain  # type: ignore[method-assign, assignment]


class LoginShell:
    """Serves shells of our own account over a tunnel; a `tunnel.Service`."""

    def __init__(self, host_key: asyncssh.SSHKey, guard: Guard, sessions: Sessions) -> None:
        self._host_key = host_key
        self._guard = guard
        self._sessions = sessions

    async def listen(self, conn: asyncssh.SSHClientConnection, tunnel_port: int, outlet: Valve) -> None:
        """Cancelling leaves the forward behind: close `conn`."""
        await asyncssh.listen(
            "localhost",
            tunnel_port,
            tunnel=_Entrance(conn, outlet),
            server_factory=lambda: _Door(self._sessions, self._guard),
            server_host_keys=[self._host_key],
            kex_algs=KEX,
            encryption_algs=ENCRYPTION,
            compression_algs=None,
            encoding=None,
            line_editor=False,
            window=WINDOW,
            login_timeout=LOGIN_S,
            keepalive_interval=0,
            public_key_auth=True,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            x509_trusted_certs=None,
            x11_forwarding=False,
            agent_forwarding=False,
            allow_scp=False,
            sftp_factory=None,
        )


class _Entrance:
    """AsyncSSH's `tunnel` argument: turns connections of the remote forward into SSH connections, each with a link."""

    def __init__(self, conn: asyncssh.SSHClientConnection, outlet: Valve) -> None:
        self._conn = conn
        self._outlet = outlet
        self._open = 0

    async def create_server(self, factory: Callable[[str, int], Any], host: str, port: int) -> asyncssh.SSHListener:
        def accept(orig_host: str, orig_port: int) -> _InnerLink:
            if self._open >= MAX_CONNECTIONS:
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "too many connections")
            try:
                return _InnerLink(self, factory(orig_host, orig_port), (address_of(orig_host), orig_port))
            except Exception as error:  # this call's root: an exception here would close the tunnel
                logger.exception("connection refused")
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "cannot serve this") from error

        return await self._conn.create_server(accept, host, port)

    def entered(self, link: Link) -> Callable[[], None]:
        """Counts a connection; returns what undoes it."""
        self._open += 1
        unfollow = link.valve.follow(self._outlet)

        def left() -> None:
            self._open -= 1
            unfollow()

        return left


class _InnerLink(Link):
    """A link that is counted for as long as its connection lives."""

    def __init__(self, entrance: _Entrance, inner: Any, origin: tuple[str, int]) -> None:
        super().__init__(inner, origin)
        self._entrance = entrance
        self._leave: Callable[[], None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._leave = self._entrance.entered(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._leave:
            self._leave()
            self._leave = None
        super().connection_lost(exc)


def address_of(host: str) -> str:
    """The originator as an address, which a certificate's `source-address` is checked against; 0.0.0.0 for none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "127.0.0.1" if host == "localhost" else "0.0.0.0"  # noqa: S104 -- compared, not bound
