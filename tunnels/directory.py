"""Which key belongs to which host, in memory: before authentication no database is asked.

An unauthenticated peer's bytes pile up while AsyncSSH awaits an answer, so the answer must be there already.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from channels.db import database_sync_to_async
from django.db.models import BooleanField, Case, When

from tunnels.models import Host, State
from tunnels.rules import AgentFacts

HOLDING = (State.PENDING, State.APPROVED)
IS_PINNED = Case(When(host_keys=[], then=False), default=True, output_field=BooleanField())


@dataclass(frozen=True, slots=True)
class KnownHost:
    id: UUID
    facts: AgentFacts
    is_pinned: bool = True
    """Whether its host keys are known; where it enrolled over SSH, they are once its tunnel has been up."""


class Directory:
    """All enrolled keys by fingerprint; `reload` replaces them at once."""

    def __init__(self) -> None:
        self._by_fingerprint: dict[str, KnownHost] = {}
        self._by_id: dict[UUID, KnownHost] = {}
        self._names: set[str] = set()
        self._ports: set[int] = set()

    def by_fingerprint(self, fingerprint: str) -> KnownHost | None:
        return self._by_fingerprint.get(fingerprint)

    def by_id(self, host_id: UUID) -> KnownHost | None:
        return self._by_id.get(host_id)

    def holds(self, *, name: str = "", port: int = 0) -> bool:
        """Whether a machine that waits or is approved has this name or tunnel port."""
        return name in self._names or port in self._ports

    async def reload(self) -> None:
        known = await database_sync_to_async(_read)()
        self._by_id = {host.id: host for host in known.values()}
        self._by_fingerprint = known
        self._index()

    async def refresh(self, host_id: UUID) -> None:
        """Look at one host anew, after its key has proved itself: another process may just have approved it."""
        for fingerprint, host in (await database_sync_to_async(_read)(pk=host_id)).items():
            self._by_id[host.id] = self._by_fingerprint[fingerprint] = host
        self._index()

    def _index(self) -> None:
        holders = [host.facts for host in self._by_id.values() if host.facts.state in HOLDING]
        self._names = {facts.name for facts in holders}
        self._ports = {facts.tunnel_port for facts in holders}


def _read(**which: UUID) -> dict[str, KnownHost]:
    rows = Host.objects.filter(**which).annotate(is_pinned=IS_PINNED)
    return {
        fingerprint: KnownHost(host_id, AgentFacts(name, state, port), is_pinned)
        for fingerprint, host_id, name, state, port, is_pinned in rows.values_list(
            "fingerprint", "id", "name", "state", "tunnel_port", "is_pinned"
        )
    }
