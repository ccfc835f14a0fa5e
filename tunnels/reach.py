"""Opening an SSH connection to a host through its tunnel: host key pinned by host, login by certificate, or by asking.

The host's keys are those of its approval, whatever address or port the tunnel has. A different key ends the attempt;
there is nothing to click away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import asyncssh
import structlog
from channels.db import database_sync_to_async

from tunnels.algorithms import ENCRYPTION, KEX, MAC, send_no_ignore
from tunnels.certificates import issue
from tunnels.errors import Refused
from tunnels.keys import describe
from tunnels.keystore import Role, keys
from tunnels.registry import LiveTunnel
from tunnels.rotation import note_learned
from tunnels.text import printable

CONNECT_TIMEOUT_S = 15
"""For all that happens without a person: the channel, the key exchange, the certificate."""
ANSWER_TIMEOUT_S = 120
"""For a person to answer; sshd's own LoginGraceTime is the same."""
MAX_ASKED = 3

log = structlog.get_logger(__name__)


class HostKeyMismatch(Refused):
    """The host showed another key than the pinned ones."""


class HostUnreachable(Refused):
    """The tunnel is there, but no SSH server answers at its other end."""


class LoginRefused(Refused):
    """The host did not let us in as this login."""


class Asker(Protocol):
    """Asks the person for what the host wants to know."""

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        """The typed answer; None when the person gave up. Cancelling it withdraws the question."""

    def tell(self, text: str) -> None:
        """Show a line of the host's."""


class _Client(asyncssh.SSHClient):
    """Answers the host's questions during login by asking the person, a few times."""

    def __init__(
        self,
        asker: Asker,
        login: str,
        deadline: asyncio.Timeout,
        certificates: Sequence[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]],
    ) -> None:
        self._asker = asker
        self._login = login
        self._deadline = deadline
        self._certificates = list(certificates)
        self.offered: asyncssh.SSHCertificate | None = None
        """The last one that was shown; once we are in, the one that was taken. None where something else got us in."""
        self._asked = 0
        self.is_waiting = False
        """For the person's answer."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        send_no_ignore(conn)

    def auth_banner_received(self, msg: str, lang: str) -> None:
        for line in msg[:4000].splitlines()[:20]:
            self._asker.tell(printable(line, 200))

    def public_key_auth_requested(self) -> list[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]] | None:
        pair = self._certificates.pop(0) if self._certificates else None
        self.offered = pair[1] if pair else None
        return [pair] if pair else None

    async def password_auth_requested(self) -> str | None:
        return await self._ask(f"{self._login}'s password: ", echo=False)

    def kbdint_auth_requested(self) -> str | None:
        return "" if self._asked < MAX_ASKED else None

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> Sequence[str] | None:
        for line in (name, instructions):
            if line:
                self._asker.tell(printable(line, 200))
        answers: list[str] = []
        for prompt, echo in prompts[:8]:
            answer = await self._ask(printable(prompt, 200), echo=echo)
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def _ask(self, prompt: str, *, echo: bool) -> str | None:
        if self._asked >= MAX_ASKED:
            return None
        self._asked += 1
        self._allow(ANSWER_TIMEOUT_S)
        self.is_waiting = True
        answer = await self._asker.ask(prompt, echo=echo)
        self.is_waiting = False
        self._allow(CONNECT_TIMEOUT_S)
        return answer

    def _allow(self, seconds: float) -> None:
        if not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)


async def connect(
    tunnel: LiveTunnel,
    *,
    host: str,
    login: str,
    host_keys: Sequence[str],
    key_id: str,
    asker: Asker,
    only_next: bool = False,
) -> asyncssh.SSHClientConnection:
    """An authenticated SSH connection to `host` as `login`, over `tunnel`. The caller closes it.

    While the authority is replaced, the host is shown a certificate of the next one first, and then one of that in
    force; with `only_next` the first alone. That a host takes it is put on record.

    Raises HostKeyMismatch, HostUnreachable or LoginRefused. Cancelling it leaves no connection behind.
    """
    *old, newest = keys(Role.AUTHORITY)
    authorities = [newest] if only_next else [newest, *old]
    trusted = [asyncssh.import_public_key(line) for line in host_keys]
    if not trusted:
        raise HostUnreachable(
            f"the host key of {host} is not known yet: its SSH server has not answered through its tunnel; "
            "see that it runs, then try again"
        )
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S) as deadline:
            certificates = [issue(login=login, key_id=key_id, authority=authority) for authority in authorities]
            client = _Client(asker, login, deadline, certificates)
            connection, _ = await asyncssh.create_connection(
                lambda: client,
                host,
                tunnel=tunnel,
                config=None,
                known_hosts=(trusted, [], []),
                username=login,
                client_keys=None,
                agent_path=None,
                gss_host=None,
                x509_trusted_certs=None,
                preferred_auth="publickey,keyboard-interactive,password",
                client_version="brokerd",
                kex_algs=list(KEX),
                encryption_algs=list(ENCRYPTION),
                mac_algs=list(MAC),
                compression_algs=None,
                login_timeout=0,
                keepalive_interval=0,
            )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyMismatch(f"{host} shows another host key than the one that was approved") from error
    except asyncssh.KeyExchangeFailed as error:
        if "host key" in str(error):
            raise HostKeyMismatch(f"{host} does not show the host key that was approved") from error
        raise HostUnreachable(f"no common SSH algorithms with {host}: {error.reason}") from error
    except asyncssh.PermissionDenied as error:
        raise LoginRefused(f"{host} does not let {login} in: {error.reason}") from error
    except asyncssh.ChannelOpenError as error:
        raise HostUnreachable(f"the SSH server of {host} does not answer through its tunnel: {error.reason}") from error
    except TimeoutError as error:
        if client.is_waiting:
            raise LoginRefused(f"{host} asked, and nobody answered in time") from error
        raise HostUnreachable(f"the SSH server of {host} did not answer in time") from error
    except (asyncssh.Error, OSError) as error:
        raise HostUnreachable(f"the SSH connection to {host} failed: {error}") from error
    if old and client.offered is certificates[0][1]:
        await _note_trust(tunnel, newest)
    return connection


async def _note_trust(tunnel: LiveTunnel, authority: asyncssh.SSHKey) -> None:
    """Never fails: the login has succeeded."""
    note = database_sync_to_async(note_learned)
    try:
        await note(role=Role.AUTHORITY, host_id=tunnel.host_id, fingerprint=describe(authority).fingerprint)
    except Exception:
        log.exception("trust in the next authority not recorded", host=str(tunnel.host_id))
