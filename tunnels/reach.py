"""Opening an SSH connection to a host through its tunnel: host key pinned by host, login by certificate, or by asking.

The host's keys are those of its approval, whatever address or port the tunnel has. A different key ends the attempt;
there is nothing to click away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import asyncssh

from tunnels.algorithms import ENCRYPTION, KEX, MAC, send_no_ignore
from tunnels.certificates import issue
from tunnels.errors import Refused
from tunnels.registry import LiveTunnel
from tunnels.text import printable

CONNECT_TIMEOUT_S = 15
"""For all that happens without a person: the channel, the key exchange, the certificate."""
ANSWER_TIMEOUT_S = 120
"""For a person to answer; sshd's own LoginGraceTime is the same."""
MAX_ASKED = 3


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

    def __init__(self, asker: Asker, login: str, deadline: asyncio.Timeout) -> None:
        self._asker = asker
        self._login = login
        self._deadline = deadline
        self._asked = 0
        self.is_waiting = False
        """For the person's answer."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        send_no_ignore(conn)

    def auth_banner_received(self, msg: str, lang: str) -> None:
        for line in msg[:4000].splitlines()[:20]:
            self._asker.tell(printable(line, 200))

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
    tunnel: LiveTunnel, *, host: str, login: str, host_keys: Sequence[str], key_id: str, asker: Asker
) -> asyncssh.SSHClientConnection:
    """An authenticated SSH connection to `host` as `login`, over `tunnel`. The caller closes it.

    Raises HostKeyMismatch, HostUnreachable or LoginRefused. Cancelling it leaves no connection behind.
    """
    key, certificate = issue(login=login, key_id=key_id)
    trusted = [asyncssh.import_public_key(line) for line in host_keys]
    if not trusted:
        raise HostUnreachable(
            f"the host key of {host} is not known yet: its SSH server has not answered through its tunnel; "
            "see that it runs, then try again"
        )
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S) as deadline:
            client = _Client(asker, login, deadline)
            connection, _ = await asyncssh.create_connection(
                lambda: client,
                host,
                tunnel=tunnel,
                config=None,
                known_hosts=(trusted, [], []),
                username=login,
                client_keys=[(key, certificate)],
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
    return connection
