"""Which key belongs to which host, in memory: before authentication no database is asked.

An unauthenticated peer's bytes pile up while AsyncSSH awaits an answer, so the answer must be there already.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from channels.db import database_sync_to_async

from tunnels.models import Host
from tunnels.rules import AgentFacts


@dataclass(frozen=True, slots=True)
class KnownHost:
    id: UUID
    facts: AgentFacts


class Directory:
    """All enrolled keys by fingerprint; `reload` replaces them at once."""

    def __init__(self) -> None:
        self._by_fingerprint: dict[str, KnownHost] = {}
        self._by_id: dict[UUID, KnownHost] = {}

    def by_fingerprint(self, fingerprint: str) -> KnownHost | None:
        return self._by_fingerprint.get(fingerprint)

    def by_id(self, host_id: UUID) -> KnownHost | None:
        return self._by_id.get(host_id)

    async def reload(self) -> None:
        known = await database_sync_to_async(_read)()
        self._by_id = {host.id: host for host in known.values()}
        self._by_fingerprint = known

    async def refresh(self, host_id: UUID) -> None:
        """Look at one host anew, after its key has proved itself: another process may just have approved it."""
        for fingerprint, host in (await database_sync_to_async(_read)(pk=host_id)).items():
            self._by_id[host.id] = self._by_fingerprint[fingerprint] = host


def _read(**which: UUID) -> dict[str, KnownHost]:
    rows = Host.objects.filter(**which).values_list("fingerprint", "id", "name", "state", "tunnel_port")
    return {
        fingerprint: KnownHost(host_id, AgentFacts(name, state, port))
        for fingerprint, host_id, name, state, port in rows
    }
