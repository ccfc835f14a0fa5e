"""The SSH gateway: one port. The key says who connects; once it is proved, its app takes over (`brokerd.door`).

Public keys only. Before authentication everything is answered from memory (`tunnels.directory`), and who may try at all
is decided by `brokerd.entry`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import asyncssh
import structlog

from brokerd.conf import Address, ConfigError
from brokerd.door import Door
from brokerd.entry import Entry, Offence, Place, Refusal
from terminals.ssh.desk import PeopleDesk
from tunnels.agents import AgentDesk
from tunnels.algorithms import ENCRYPTION, KEX, MAC_OF_GATEWAY, SIGNATURES
from tunnels.keystore import DamagedKey, Role, keys
from tunnels.pairing import PairingDesk
from tunnels.registry import CHANNEL_WINDOW
from tunnels.throttle import Throttle

MAX_CONNECTIONS = 5000
MAX_OF_ONE = 200
"""Connections of one person or host that are logged in: nobody may hold all of them."""
WATCH_S = 1.0
PENALTIES_NOTED, PENALTY_NOTED_S = 60, 60
"""Penalties that go on record at once, whatever their sources, and one more each so many seconds."""
OFFENCES = {
    Offence.LEFT: "too many connections that did not log in",
    Offence.FAILED: "too many failed logins over SSH",
    Offence.TRIED_MANY: "too many keys were tried over SSH",
    Offence.SILENT: "too many connections that were silent",
    Offence.BROKE: "something else than SSH was spoken to the gateway",
}

log = structlog.get_logger(__name__)


class Gateway:
    """`async with Gateway(...)`: listens while inside; on leaving, tunnels are closed and written down."""

    def __init__(
        self,
        *,
        desk: AgentDesk,
        people: PeopleDesk,
        pairing: PairingDesk,
        address: Address,
        keepalive_s: int,
        entry: Entry,
    ) -> None:
        self.desk = desk
        self.people = people
        self.pairing = pairing
        self._address = address
        self._keepalive_s = keepalive_s
        self.entry = entry
        self.doors: set[Door] = set()
        self._keys = keys(Role.GATEWAY)
        self.held: Counter[object] = Counter()
        """Connections that are logged in, by whose they are."""
        self._is_closing = False
        self._noting = Throttle(burst=PENALTIES_NOTED, refill_s=PENALTY_NOTED_S)

    @property
    def connections(self) -> int:
        return len(self.doors)

    @property
    def unauthenticated(self) -> int:
        return self.entry.waiting

    def admit(self, address: str) -> Place | Refusal:
        """A place for a connection that was just made."""
        if self.connections >= MAX_CONNECTIONS:
            self.entry.refused[Refusal.FULL] += 1
            return Refusal.FULL
        return self.entry.admit(address, time.monotonic())

    def welcome(self, identity: object, address: str) -> bool:
        """Whether another connection of somebody who has just logged in is taken; `part` gives it back in any case."""
        self.entry.know(address, time.monotonic())
        self.held[identity] += 1
        return self.held[identity] <= MAX_OF_ONE

    def part(self, identity: object) -> None:
        self.held[identity] -= 1
        if not self.held[identity]:
            del self.held[identity]

    def offend(self, address: str, offence: Offence) -> None:
        """Hold it against the source. A penalty is on record once, and all of them in a number that is bounded."""
        if self._is_closing:
            return  # so that is why the connection ended
        now = time.monotonic()
        if penalty_s := self.entry.offend(address, offence, now):
            if self._noting.take("", now):
                return
            reason = f"{OFFENCES[offence]}; connections from there are refused for {penalty_s:.0f} s"
            log.warning("source refused", address=address, reason=reason)
            self.desk.refuse_source(address, reason)

    async def __aenter__(self) -> Gateway:
        try:
            self._acceptor = await asyncssh.listen(
                self._address.host,
                self._address.port,
                server_factory=lambda: Door(self),
                server_host_keys=self._keys,
                send_server_host_keys=True,  # the next one as well, while it is replaced
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
                mac_algs=list(MAC_OF_GATEWAY),
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

    def _renew_keys(self) -> None:
        """Whoever connects from now on is shown the keys that there are now."""
        try:
            now = keys(Role.GATEWAY)
        except (OSError, DamagedKey):
            log.exception("the gateway's host keys cannot be read, keeping those that it has")
            return
        if now != self._keys:
            self._keys = now
            self._acceptor.update(server_host_keys=now, send_server_host_keys=True)
            log.info("the gateway's host keys have changed", keys=[key.get_fingerprint() for key in now])

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_closing = True
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
                door.cut_if_it_piles_up()
            self._renew_keys()

    @property
    def is_listening(self) -> bool:
        return bool(self._acceptor.sockets)

    @property
    def port(self) -> int:
        return self._acceptor.get_port()
