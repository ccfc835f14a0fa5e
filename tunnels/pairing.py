"""Pairing with nothing but ssh: a key that nobody knows asks to become a host, and waits at the door for the answer.

The wait is a part of the login. What a machine must be told, it is told by a banner, the one thing that stock clients
show, and only before the login has succeeded (RFC 4252 section 5.4). So success is not sent before an admin has
approved: who waits has proved its key, and can ask for nothing, open nothing and pile nothing up. After the approval
it is an agent like any other.

PuTTY shows banners only with the end of a try. So it does not wait: it is told, refused, and to be run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncssh
import structlog
from channels.db import database_sync_to_async
from django.conf import settings

from tunnels.directory import Directory, KnownHost
from tunnels.enrollment import pairing_code_of, request_pairing, throttle
from tunnels.errors import Refused, TooMany
from tunnels.keys import BadKey, PublicKey, parse_public_key
from tunnels.models import Host
from tunnels.rules import is_host_name, refuse_agent
from tunnels.text import printable
from tunnels.throttle import source_of

WAIT_S = 600
MAX_WAITING = 100
"""Connections that wait at once; each holds what an SSH connection costs, and a place here."""
MAX_WAITING_OF_SOURCE = 20
STIR_S = 15
"""How often a waiting client is sent something, so that a dead one and a forgetful NAT are noticed."""
BROKEN = "internal error, retry after 30 s"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A key that belongs to nobody, and the name under which its machine wants to be a host."""

    name: str
    key: PublicKey


@dataclass(eq=False, slots=True)
class _Place:
    source: str
    host_id: UUID | None = None
    """Known once the enrollment is stored."""
    decided: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done with the reason to turn it away; empty: approved."""

    def decide(self, reason: str) -> None:
        if not self.decided.done():
            self.decided.set_result(reason)


class PairingDesk:
    """All who wait at this node. `is_person` knows the names that are people's."""

    def __init__(self, *, directory: Directory, is_person: Callable[[str], bool]) -> None:
        self._directory = directory
        self._is_person = is_person
        self._places: dict[str, _Place] = {}
        """By fingerprint: a machine waits once."""

    def __len__(self) -> int:
        return len(self._places)

    def consider(self, username: str, line: str, address: str) -> Stranger | str | None:
        """Whether this unknown key may ask: from memory, since nothing is proved yet. A text says why it may not.

        None: as if there were no pairing. So it is for the names and forms of people's logins: they may offer several
        keys, and the next one may be theirs.
        """
        if not settings.BROKERD.open_enrollment or self._is_person(username) or {"@", "/"} & set(username):
            return None
        if not is_host_name(username):
            shown = printable(username, 63)
            return f"{shown!r} is not a host name: use 1 to 63 of a-z, 0-9 and -, as in ssh ... web1@broker"
        if self._directory.holds(name=username):
            return (
                f"this key is not known here, and the name {username} is taken by another machine; choose another one"
            )
        try:
            key = parse_public_key(line)
            self._check_room(address)
        except (BadKey, TooMany) as error:
            return str(error)
        return Stranger(username, key)

    def may_wait(self, known: KnownHost) -> bool:
        """Whether it asked over SSH, and waits there: who enrolled over REST asks there what became of it."""
        return settings.BROKERD.open_enrollment and known.facts.state == "pending" and not known.is_pinned

    async def pair(
        self, connection: asyncssh.SSHServerConnection, fingerprint: str, who: Stranger | KnownHost, *, shown: str
    ) -> KnownHost | None:
        """The host, once an admin has approved it. None: turned away, and told why. `shown` is the banner it has seen.

        To be awaited after the key has proved itself and before the login succeeds. Cancelling it gives the place up;
        the enrollment goes on waiting.
        """
        address = str((connection.get_extra_info("peername") or ("::",))[0])
        client = str(connection.get_extra_info("client_version") or "")
        try:
            with self._place(fingerprint, address) as place:
                host = await self._enrolled(who, address, client)
                place.host_id = host.pk
                await self._directory.refresh(host.pk)
                known = self._directory.by_id(host.pk)
                if known is not None and not self.may_wait(known):
                    return known  # enrolled over REST a moment ago: like any other agent it is turned away on record
                self._look_at(place)
                text = banner(host.name, host.fingerprint, host.code, waits=_can_wait(connection))
                if not place.decided.done() and text != shown:  # the key that codes are derived from was changed
                    connection.send_auth_banner(text)
                if not place.decided.done() and not _can_wait(connection):
                    return None
                if reason := await _wait(place, connection):
                    log.info("a waiting machine was turned away", host=host.name, address=address, reason=reason)
                    connection.disconnect(asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT, reason)
                    return None
                return self._directory.by_id(host.pk)
        except Refused as refusal:
            connection.send_auth_banner(refused(str(refusal)))
        except Exception:
            # The root of what AsyncSSH runs for us: there, it would end without a word in the log.
            log.exception("pairing failed", address=address)
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, BROKEN)
        return None

    def look(self) -> None:
        """What became of those who wait. Runs at each change, after the directory."""
        for place in list(self._places.values()):
            self._look_at(place)

    def close(self) -> None:
        for place in list(self._places.values()):
            place.decide("the broker is stopping, retry after 5 s")

    def _look_at(self, place: _Place) -> None:
        if place.host_id is None:
            return
        known = self._directory.by_id(place.host_id)
        if known is None:
            place.decide("this host was removed")
        elif known.facts.state != "pending" or known.is_pinned:  # it enrolled over REST, and asks there
            place.decide(refuse_agent(known.facts) or "")

    async def _enrolled(self, who: Stranger | KnownHost, address: str, client: str) -> Host:
        if isinstance(who, KnownHost):
            host: Host = await database_sync_to_async(Host.objects.get)(pk=who.id)
            return host
        if wait_s := throttle.take(address, time.monotonic()):
            raise TooMany(f"too many enrollment requests from {address}; try again in {wait_s} s", wait_s)
        enrolled: Host = await database_sync_to_async(request_pairing)(
            name=who.name, public_key=who.key.line, client=client, address=address
        )
        return enrolled

    def _check_room(self, address: str) -> None:
        source = source_of(address)
        if len(self._places) >= MAX_WAITING:
            raise TooMany("too many machines are waiting for approval; try again later", 600)
        if sum(place.source == source for place in self._places.values()) >= MAX_WAITING_OF_SOURCE:
            raise TooMany("too many machines of your address are waiting for approval; try again later", 600)

    @contextmanager
    def _place(self, fingerprint: str, address: str) -> Iterator[_Place]:
        """A place while inside. A connection that waited with the same key before is closed: the newest one counts."""
        if before := self._places.pop(fingerprint, None):
            before.decide("replaced by a new connection with the same key")
        self._check_room(address)
        place = self._places[fingerprint] = _Place(source_of(address))
        try:
            yield place
        finally:
            if self._places.get(fingerprint) is place:
                del self._places[fingerprint]


def invited(who: Stranger | KnownHost, fingerprint: str, connection: asyncssh.SSHServerConnection) -> str:
    """What it is told, as a banner."""
    name = who.name if isinstance(who, Stranger) else who.facts.name
    return banner(name, fingerprint, pairing_code_of(fingerprint), waits=_can_wait(connection))


def refused(reason: str) -> str:
    """A refusal, as a banner."""
    return f"brokerd: {reason}\r\n"


def banner(name: str, fingerprint: str, code: str, *, waits: bool) -> str:
    """Plain ASCII, whatever the client's terminal is; all of it was checked."""
    portal = settings.BROKERD.portal_url
    lines = (
        "",
        f"brokerd does not know this key. It asks to become the host {name}:",
        "",
        f"  fingerprint   {fingerprint}",
        f"  pairing code  {code}",
        f"  approve at    {portal}/approvals/",
        "",
        f"Waiting for an admin, up to {WAIT_S // 60} minutes."
        if waits
        else "Run this command again after the approval.",
        f"If you are a person, stop this: your keys belong under {portal}/account/.",
        "",
    )
    return "".join(f"{line}\r\n" for line in lines)


def _can_wait(connection: asyncssh.SSHServerConnection) -> bool:
    """Whether the client shows a banner while it waits."""
    return "PuTTY" not in str(connection.get_extra_info("client_version"))


async def _wait(place: _Place, connection: asyncssh.SSHServerConnection) -> str:
    """Why it is turned away; empty once it is approved."""
    give_up = time.monotonic() + WAIT_S
    while not place.decided.done():
        if (left_s := give_up - time.monotonic()) <= 0:
            return "nobody approved it in time; run the same command again to go on waiting"
        await asyncio.wait({place.decided}, timeout=min(STIR_S, left_s))
        connection.send_debug("waiting for approval")
    return place.decided.result()
