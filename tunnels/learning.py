"""Finds out which hosts know the broker's next keys, while one is replaced; of nothing else does it take notice.

A stock ssh client that hears of a host key it does not know asks the gateway to prove it, and writes it down. A host
that trusts the next authority lets in a certificate of it, which is tried here, with each host that is online.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import asyncssh
import structlog
from asyncssh.packet import SSHPacket
from channels.db import database_sync_to_async

from tunnels import keystore, rotation
from tunnels.errors import Refused
from tunnels.keystore import Role
from tunnels.models import Host
from tunnels.reach import connect
from tunnels.registry import LiveTunnel, TunnelRegistry

LOOK_S = 10.0
RETRY_S = (30.0, 120.0, 600.0, 3600.0)
"""After the first try that failed, the second and so on; then always the last."""
AT_ONCE = 4
KEY_ID = "brokerd: does this host trust the new authority?"
"""In the host's own log."""
MAX_PROVED = 4
"""Keys that one connection may have us prove, in all. Each is a signature; who learns asks once, for those it lacks."""
PROVE = "_process_hostkeys_prove_00_at_openssh_dot_com_global_request"
"""AsyncSSH's handler for OpenSSH's request (PROTOCOL, section 2.5)."""

log = structlog.get_logger(__name__)


def after_proof_of_keys(connection: asyncssh.SSHServerConnection, note: Callable[[str], None]) -> None:
    """Call `note` with the fingerprint of each host key of ours that this client has us prove, for it did not know it.

    Past `MAX_PROVED` the answer is no. AsyncSSH has no callback for it, hence its private handler, for this connection
    only.
    """
    plain = getattr(connection, PROVE)
    proved = 0

    def process(packet: SSHPacket) -> None:
        nonlocal proved
        rest, asked = SSHPacket(packet.get_remaining_payload()), []
        while rest:
            asked.append(rest.get_string())
        proved += len(asked)
        if proved > MAX_PROVED:
            connection._report_global_response(False)
            return
        plain(packet)
        with suppress(asyncssh.KeyImportError):  # it was answered with a refusal
            for key in asked:
                note(asyncssh.public_key.decode_ssh_public_key(key).get_fingerprint())

    setattr(connection, PROVE, process)


class NobodyAsks:
    """In place of a person: a host that wants to know something does not trust the certificate."""

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        return None

    def tell(self, text: str) -> None:
        return


class TrustProbe:
    """`async with TrustProbe(registry)`: while the authority is replaced, tries the next one with hosts online."""

    def __init__(self, registry: TunnelRegistry) -> None:
        self._registry = registry
        self._tries: dict[UUID, tuple[LiveTunnel, int, float]] = {}
        """Through which tunnel each was tried, how often, and when it may be again: at once through a new one, with
        which it may have been changed."""

    async def __aenter__(self) -> TrustProbe:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                if keystore.next_key(Role.AUTHORITY) is None:
                    self._tries.clear()
                else:
                    await self._look()
            except Exception:
                log.exception("the trust of hosts was not tried")
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        hosts = await database_sync_to_async(lambda: list(rotation.behind(Role.AUTHORITY)))()
        now, limit = time.monotonic(), asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for host in hosts:
                tunnel = self._registry.get(host.pk)
                if tunnel is None or not host.host_keys:
                    continue
                through, count, due = self._tries.get(host.pk, (tunnel, 0, now))
                if through is not tunnel:
                    count, due = 0, now
                if due <= now:
                    self._tries[host.pk] = tunnel, count + 1, now + RETRY_S[min(count, len(RETRY_S) - 1)]
                    group.create_task(self._try(tunnel, host, limit))

    async def _try(self, tunnel: LiveTunnel, host: Host, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                connection = await connect(
                    tunnel,
                    host=host.name,
                    login=host.login,
                    host_keys=host.host_keys,
                    key_id=KEY_ID,
                    asker=NobodyAsks(),
                    only_next=True,
                )
            except Refused as refused:
                log.info("host does not trust the next authority yet", host=host.name, reason=str(refused))
                return
            connection.close()
