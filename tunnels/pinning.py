"""Reading the host keys of a machine that enrolled over SSH alone, through its tunnel, once it is approved.

Nobody compared these keys. That an admin compared the agent's key makes up for it: whoever holds that key decides where
the tunnel ends, today as on the day of any other approval. From then on they are pinned as everybody's are.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncssh
import structlog
from channels.db import database_sync_to_async

from tunnels.algorithms import KEX
from tunnels.directory import Directory
from tunnels.enrollment import pin_host_keys
from tunnels.keys import BadKey, describe, parse_public_key
from tunnels.models import Host
from tunnels.registry import LiveTunnel

KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256",),
    ("ecdsa-sha2-nistp384",),
    ("ecdsa-sha2-nistp521",),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
"""An SSH server shows one key in an exchange; each kind is asked for by itself."""
READ_TIMEOUT_S = 15
FIRST_RETRY_S = 1
MAX_RETRY_S = 60

log = structlog.get_logger(__name__)


async def pin(tunnel: LiveTunnel, directory: Directory) -> None:
    """Read and pin, again and again until it worked or the tunnel is over. The root of its task."""
    retry_s = FIRST_RETRY_S
    try:
        while not tunnel.closed.done():
            if lines := await read_host_keys(tunnel):
                await database_sync_to_async(_pin)(tunnel, lines)
                await directory.refresh(tunnel.host_id)
                return
            await asyncio.wait({tunnel.closed}, timeout=retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)
    except Exception:
        log.exception("host keys not pinned", host=str(tunnel.host_id))


async def read_host_keys(tunnel: LiveTunnel) -> list[str]:
    """The public key lines that the host's SSH server proved to hold; none where it does not answer."""
    lines = []
    for kind in KINDS:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                key = await asyncssh.get_server_host_key(
                    "localhost",
                    tunnel=cast(Any, tunnel),
                    config=None,
                    client_version="brokerd",
                    kex_algs=list(KEX),
                    server_host_key_algs=list(kind),
                )
            if key is not None:
                lines.append(parse_public_key(describe(key).line).line)
        except asyncssh.DisconnectError:
            continue  # it has no key of this kind: sshd says so, or closes the connection before we do
        except BadKey as bad:
            log.warning("a host key was left out", host=str(tunnel.host_id), reason=str(bad))
        except (asyncssh.Error, OSError) as error:
            log.info("host keys could not be read", host=str(tunnel.host_id), reason=str(error))
            return []
    return lines


def _pin(tunnel: LiveTunnel, lines: list[str]) -> None:
    host = Host.objects.get(pk=tunnel.host_id)
    # A key that is the agent's as well would let whoever holds the tunnel pass for the host's SSH server.
    own = [line for line in lines if line != host.public_key]
    if not own:
        log.warning("the only host key is the agent's own: make a key of its own for the agent", host=host.name)
    elif not host.host_keys:
        pin_host_keys(host=host, lines=own, address=tunnel.address)
