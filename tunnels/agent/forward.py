"""Forwarding to an sshd: each connection of the tunnel's remote forward is spliced to a TCP connection of ours."""

from __future__ import annotations

import asyncio
import logging

import asyncssh

from tunnels.agent.config import Target
from tunnels.agent.splice import ChannelEnd, Splice
from tunnels.agent.valve import Valve

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 100
DIAL_S = 10.0
HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
)


class NoServer(Exception):
    """No SSH server answers at the target; the message says so."""


async def ask_host_keys(target: Target) -> list[str]:
    """The public key lines of the sshd at `target`, by asking it. NoServer when it shows none. Cancelling is safe."""
    lines: list[str] = []
    for algorithm in HOST_KEY_ALGORITHMS:
        if (line := await _ask_host_key(target, algorithm)) and line not in lines:
            lines.append(line)
    if not lines:
        raise NoServer(f"no SSH server answers at {target}")
    return lines


async def _ask_host_key(target: Target, algorithm: str) -> str | None:
    try:
        async with asyncio.timeout(DIAL_S):
            key = await asyncssh.get_server_host_key(
                target.host, target.port, server_host_key_algs=[algorithm], config=None
            )
    except (asyncssh.Error, OSError, TimeoutError):
        return None  # it has no key of this kind, or it does not answer: the caller sees that no key came
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2]) if key else None


class Forward:
    """Leads every connection of the tunnel to `target`; a `tunnel.Service`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._open = 0

    async def listen(self, conn: asyncssh.SSHClientConnection, tunnel_port: int, outlet: Valve) -> None:
        """Cancelling leaves the forward behind: close `conn`."""

        async def accept(_orig_host: str, _orig_port: int) -> ChannelEnd:
            try:
                return await self._connect(conn, outlet)
            except asyncssh.ChannelOpenError:
                raise
            except Exception as error:  # this call's root: an exception here would close the tunnel
                logger.exception("connection refused")
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "internal error") from error

        await conn.create_server(accept, "localhost", tunnel_port)

    async def _connect(self, conn: asyncssh.SSHClientConnection, outlet: Valve) -> ChannelEnd:
        if self._open >= MAX_CONNECTIONS:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "too many connections")
        self._open += 1
        splice = Splice(outlet, self._closed)
        try:
            async with asyncio.timeout(DIAL_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: splice.socket, self._target.host, self._target.port
                )
        except OSError as error:
            splice.close()
            reason = f"cannot reach {self._target}: {error.strerror or error}"
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, reason) from error
        except BaseException:
            splice.close()
            raise
        if conn.is_closed():  # the tunnel went while we dialled: AsyncSSH would drop the channel without a word to us
            splice.close()
        return splice.channel

    def _closed(self) -> None:
        self._open -= 1
