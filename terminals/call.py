"""The way of one session to its host: dials through the tunnel, and says what a failure means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncssh

from terminals.end import End
from terminals.lines import C, Destination, Lines, Open
from terminals.models import Session
from terminals.protocol import Close
from terminals.session import TerminalSession
from terminals.shell import Shell, open_shell
from tunnels import reach
from tunnels.models import Host
from tunnels.reach import Asker
from tunnels.registry import LiveTunnel


@dataclass(slots=True)
class Call:
    tunnel: LiveTunnel | None
    row: Session
    host: Host
    lines: Lines

    def dial(self, terminal: TerminalSession) -> AbstractAsyncContextManager[Shell]:
        """The terminal's shell."""
        return self.channel(partial(open_shell, terminal), asker=terminal)

    @asynccontextmanager
    async def channel(self, open_: Open[C], *, asker: Asker) -> AsyncIterator[C]:
        """A channel to the host, over a line of the person's. Raises Refused, asyncssh.Error or OSError."""
        if self.tunnel is None:
            raise reach.HostUnreachable(f"{self.host.name} went offline")
        connect = partial(
            reach.connect,
            self.tunnel,
            host=self.host.name,
            login=self.row.login,
            host_keys=self.host.host_keys,
            key_id=f"{self.row.person.username} session {self.row.pk}",
        )
        to = Destination(self.tunnel, self.row.person_id, self.row.login, tuple(self.host.host_keys))
        async with self.lines.channel(to, lambda asker: connect(asker=asker), open_, asker=asker) as channel:
            yield channel

    def explain(self, error: BaseException) -> End:
        if isinstance(error, reach.HostKeyMismatch):
            return End(f"{error}; an admin must look at this", Close.HOST_KEY_MISMATCH)
        if isinstance(error, reach.LoginRefused):
            return End(str(error), Close.NOT_ALLOWED)
        if isinstance(error, reach.HostUnreachable | asyncssh.Error | OSError):
            return End(str(error), Close.TUNNEL_LOST)
        raise error

    async def name_tunnel(self, end: End) -> End:
        """Where the shell was lost with its tunnel, say so: the tunnel knows its reason a moment later."""
        if end.code is not Close.TUNNEL_LOST or self.tunnel is None:
            return end
        done, _ = await asyncio.wait({self.tunnel.closed}, timeout=0.3)
        return End(f"the tunnel of {self.host.name} was lost: {done.pop().result()}", end.code) if done else end
