"""One person's connection at the gateway: their channels, each decided for itself.

AsyncSSH closes the whole connection on an exception in one of its callbacks, so each entry here has its own root
handler, and a refusal is the one exception that AsyncSSH understands: ChannelOpenError, whose reason the client prints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import asyncssh
import structlog
from channels.db import database_sync_to_async

from terminals.access import Capability
from terminals.keys import KnownKey
from terminals.models import Person, Session
from terminals.recheck import Watched
from terminals.second_factor import proof_of_key
from terminals.sessions import note_refusal
from terminals.ssh.brokered import BrokeredChannel
from terminals.ssh.environment import bound_environment
from terminals.ssh.forwards import open_way
from terminals.ssh.portal import PortalChannel
from terminals.ssh.target import Brokered, Portal, Target
from tunnels import spool
from tunnels.audit import Actor, Event
from tunnels.database import needed
from tunnels.errors import Refused
from tunnels.learning import after_proof_of_keys
from tunnels.splice import WINDOW, End

if TYPE_CHECKING:
    from terminals.ssh.desk import PeopleDesk

MAX_SESSIONS = 10
"""Session channels of one connection at a time, as sshd has it."""
MAX_FORWARDS = 50
FAREWELL_S = 0.5

log = structlog.get_logger(__name__)


class Visitor:
    def __init__(
        self, desk: PeopleDesk, connection: asyncssh.SSHServerConnection, key: KnownKey, target: Target
    ) -> None:
        self.desk = desk
        self.connection = connection
        self.key = key
        self.target = target
        self.proof = proof_of_key(key)
        self.address = str((connection.get_extra_info("peername") or ("::",))[0])
        self.is_lost = False
        self.sessions = 0
        self._forwards = 0
        self._farewell = ""
        self._noted: set[Event] = set()
        after_proof_of_keys(connection, lambda _: None)

    # From the gateway

    def session_requested(self) -> Any:
        if self._farewell:
            raise self._refusal(Event.SESSION_REFUSED, self._farewell)
        if self.sessions >= MAX_SESSIONS:
            raise self._refusal(Event.SESSION_REFUSED, f"at most {MAX_SESSIONS} sessions in one connection")
        self.sessions += 1
        session = BrokeredChannel(self, self.target) if isinstance(self.target, Brokered) else PortalChannel(self)
        channel = self.connection.create_server_channel(encoding=None, window=WINDOW)
        bound_environment(channel)
        return channel, session

    def connection_requested(self, host: str, port: int) -> Any:
        if self._farewell:
            raise self._refusal(Event.FORWARD_REFUSED, self._farewell)
        if not isinstance(self.target, Portal):
            raise self._refusal(Event.FORWARD_REFUSED, f"for the way to a host, log in as {self.key.person}@...")
        if self._forwards >= MAX_FORWARDS:
            raise self._refusal(Event.FORWARD_REFUSED, f"at most {MAX_FORWARDS} ways to hosts in one connection")
        self._forwards += 1
        return self.connection.create_tcp_channel(window=WINDOW), self._forward(host, port)

    def connection_lost(self) -> None:
        self.is_lost = True
        self.desk.leave(self)

    def turn_away(self, reason: str) -> None:
        self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)

    def see_off(self, reason: str) -> None:
        """Nothing more opens from now on; the connection goes once its sessions had the time to say why they end."""
        if not self._farewell:
            self._farewell = reason
            asyncio.get_running_loop().call_later(FAREWELL_S, self.turn_away, reason)

    # For its channels

    async def person(self) -> Person:
        """Their row, as it is now. DatabaseAway where nobody can tell."""
        with needed():
            row: Person = await database_sync_to_async(Person.objects.get)(pk=self.key.person_id)
        return row

    def watched(self, row: Session, capability: Capability) -> Watched:
        """What a session of theirs rests on."""
        return Watched(row.pk, capability=capability, second_factor=self.proof.holds, ssh_key=self.key.key_id)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        self.desk.own(work)

    async def _forward(self, host: str, port: int) -> End:
        try:
            end = await open_way(self, host, port)
            end.splice.closed.add_done_callback(self._forgotten)
        except asyncssh.ChannelOpenError:
            self._forwards -= 1
            raise
        except Refused as refusal:
            self._forwards -= 1
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(refusal)) from refusal
        except Exception as error:
            self._forwards -= 1
            log.exception("forward failed", person=self.key.person)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "internal error") from error
        if self.is_lost:
            end.splice.close("the client went away")
        return end

    def _forgotten(self, _: object) -> None:
        self._forwards -= 1

    def _refusal(self, event: Event, reason: str) -> asyncssh.ChannelOpenError:
        """For AsyncSSH to tell, and once for each connection on record: a client may go on asking."""
        if event not in self._noted:
            self._noted.add(event)
            self.desk.own(self._note(event, reason))
        return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, reason)

    async def _note(self, event: Event, reason: str) -> None:
        actor = Actor(self.key.person, self.address)
        try:
            await spool.keep(note_refusal, event=event, actor=actor, reason=reason)
        except Exception:
            log.exception("refusal not recorded", person=self.key.person, reason=reason)
