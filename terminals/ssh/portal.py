"""A session on the broker itself, which has no shell: `ssh alice@broker` prints what alice may reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncssh
import structlog
from channels.db import database_sync_to_async

from terminals.ssh.listing import listing
from tunnels.database import needed
from tunnels.errors import DatabaseAway

if TYPE_CHECKING:
    from terminals.ssh.visitor import Visitor

log = structlog.get_logger(__name__)


class PortalChannel(asyncssh.SSHServerSession[bytes]):
    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._has_pty = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def connection_lost(self, exc: Exception | None) -> None:
        self._visitor.sessions -= 1

    def eof_received(self) -> bool:
        return True  # ours comes with the answer

    def pty_requested(self, term_type: str, term_size: object, term_modes: object) -> bool:
        self._has_pty = True
        return True

    def shell_requested(self) -> bool:
        self._visitor.own(self._list())
        return True

    def exec_requested(self, command: str) -> bool:
        self._visitor.own(self._decline("commands run on hosts: ssh LOGIN@HOST@..., or ssh -J"))
        return True

    async def _list(self) -> None:
        try:
            with needed():
                person = await self._visitor.person()
                text = await database_sync_to_async(listing)(person, address=self._visitor.address)
        except DatabaseAway as away:
            text = f"{away}\n"
        except Exception:
            log.exception("listing failed", person=self._visitor.key.person)
            text = "The broker failed; its log says why.\n"
        self._say(text, status=0)

    async def _decline(self, reason: str) -> None:
        self._say(f"brokerd: {reason}\n", status=1)

    def _say(self, text: str, *, status: int) -> None:
        if not self._channel.is_closing():
            self._channel.write((text.replace("\n", "\r\n") if self._has_pty else text).encode())
        self._channel.exit(status)
