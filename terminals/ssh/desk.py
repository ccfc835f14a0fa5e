"""What all connections of people at this node's gateway share, and the welcome of each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncssh
import structlog
from channels.db import database_sync_to_async

from terminals.keys import KnownKey, note_use
from terminals.live import LiveTerminals
from terminals.ssh.held import Held
from terminals.ssh.keyring import Keyring
from terminals.ssh.target import BadTarget, parse
from terminals.ssh.visitor import Visitor

log = structlog.get_logger(__name__)


class PeopleDesk:
    def __init__(self, *, terminals: LiveTerminals, held: Held) -> None:
        self.keyring = Keyring()
        self.terminals = terminals
        self.held = held
        self._visitors: set[Visitor] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._visitors)

    def welcome(self, connection: asyncssh.SSHServerConnection, key: KnownKey, username: str) -> Visitor | None:
        """The connection's handler, after its key proved to be this person's. None: turned away, with the reason."""
        try:
            target = parse(username, person=key.person)
        except BadTarget as bad:
            connection.disconnect(asyncssh.DISC_ILLEGAL_USER_NAME, str(bad))
            return None
        visitor = Visitor(self, connection, key, target)
        self._visitors.add(visitor)
        self.own(self._note_use(key, visitor.address))
        return visitor

    def leave(self, visitor: Visitor) -> None:
        self._visitors.discard(visitor)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note_use(self, key: KnownKey, address: str) -> None:
        try:
            await database_sync_to_async(note_use)(key.key_id, address)
        except Exception:
            log.exception("use of key not noted", person=key.person)

    async def recheck(self) -> None:
        """Turn away people whose key or account is gone. Runs at each change and regularly, after the keyring."""
        for visitor in list(self._visitors):
            if not self.keyring.still_has(visitor.key):
                visitor.see_off("this key was removed, or its account disabled")

    async def close(self) -> None:
        for visitor in list(self._visitors):
            visitor.turn_away("the broker is stopping, retry after 5 s")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
