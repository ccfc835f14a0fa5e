"""SSH connections to hosts that several channels of one person share: the next terminal needs no login of its own.

One line belongs to one person, one login, one tunnel and the host keys that were pinned when it was dialled, and only
where nobody was asked anything on the way: a password that a person types in one terminal opens no other. It has room
for as many terminals as the host's sshd allows, and ends with the last of them. Knows no rule of access: whether the
person may have a terminal was decided before, for each one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import asyncssh

from terminals.end import End
from terminals.round_trip import RoundTrip
from terminals.shell import Shell, open_shell
from tunnels.reach import Asker
from tunnels.registry import LiveTunnel

if TYPE_CHECKING:
    from terminals.session import TerminalSession

MAX_SESSIONS = 10
"""Terminals on one line: what OpenSSH's sshd allows unless told otherwise."""
OPEN_TIMEOUT_S = 15


@dataclass(frozen=True, slots=True)
class Destination:
    """What terminals must have in common to share a line."""

    tunnel: LiveTunnel
    person: int
    """Identity of the row: a name may be let go and taken anew."""
    login: str
    host_keys: tuple[str, ...]


Dial = Callable[[Asker], Awaitable[asyncssh.SSHClientConnection]]
"""Opens an authenticated connection; asks the person where the host wants to know something."""


class Channel(Protocol):
    """What runs on a line: a shell, or a command with its three streams."""

    over: asyncio.Future[Any]
    """Done when the channel has closed."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Channel)
Open = Callable[[asyncssh.SSHClientConnection, RoundTrip], Awaitable[C]]
"""Opens a channel on a connection. Raises asyncssh.Error."""


class Line:
    """One authenticated connection. The last channel that leaves closes it."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self._round_trip = RoundTrip(connection)
        self._users = 0
        self._channels = 0
        """Asked for, and not yet closed by the host: until then they count there."""
        self._room = MAX_SESSIONS
        self._is_left = False
        self._openings: set[asyncio.Task[Any]] = set()

    @property
    def is_over(self) -> bool:
        return self._is_left or self._connection.is_closed()

    @property
    def has_room(self) -> bool:
        return not self.is_over and self._channels < self._room

    def shell(self, session: TerminalSession) -> AbstractAsyncContextManager[Shell]:
        """The shell of a terminal."""
        return self.channel(partial(open_shell, session))

    @asynccontextmanager
    async def channel(self, open_: Open[C]) -> AsyncIterator[C]:
        """One channel on this line; leaving closes it. Raises asyncssh.Error or TimeoutError.

        Cancelling the opening leaves nothing behind: a channel that still comes is closed as it does.
        """
        self._users += 1
        try:
            channel = await self._open(open_)
            try:
                yield channel
            finally:
                channel.close()
        finally:
            self._users -= 1
            if not self._users:
                self._is_left = True
                self._round_trip.cancel()
                self._connection.abort()

    async def _open(self, open_: Open[C]) -> C:
        # In a task that only the end of the connection ends: a channel that AsyncSSH is made to forget half-open fails
        # the whole connection, with the other terminals on it, at the host's first word to it.
        opening = asyncio.get_running_loop().create_task(_awaited(open_(self._connection, self._round_trip)))
        self._openings.add(opening)
        self._channels += 1
        opening.add_done_callback(self._opened)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await asyncio.shield(opening)
        except asyncssh.ChannelOpenError:
            self._room = self._channels  # without this one, which does not count any more
            raise
        except TimeoutError as error:
            self._room = 0
            opening.add_done_callback(_close)
            raise TimeoutError(f"the host did not open a session within {OPEN_TIMEOUT_S} s") from error
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise

    def _opened(self, opening: asyncio.Task[Any]) -> None:
        self._openings.discard(opening)
        if opening.cancelled() or opening.exception():
            self._channels -= 1
        else:
            opening.result().over.add_done_callback(self._closed)

    def _closed(self, _: asyncio.Future[End]) -> None:
        self._channels -= 1


async def _awaited(work: Awaitable[C]) -> C:
    return await work


def _close(opening: asyncio.Task[Any]) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close()


class Lines:
    """Those of this node. A line is here as long as it may be shared."""

    def __init__(self) -> None:
        self._lines: dict[Destination, list[Line]] = {}
        self._dialling: dict[Destination, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return sum(len(lines) for lines in self._lines.values())

    def shell(self, to: Destination, dial: Dial, session: TerminalSession) -> AbstractAsyncContextManager[Shell]:
        """A shell for `session`, which is asked what the host wants to know."""
        return self.channel(to, dial, partial(open_shell, session), asker=session)

    @asynccontextmanager
    async def channel(self, to: Destination, dial: Dial, open_: Open[C], *, asker: Asker) -> AsyncIterator[C]:
        """A channel on a line that is there, or on one that `dial` opens. Raises what these raise.

        Leaving closes it, and the line with the last one. Cancelling it leaves nothing behind.
        """
        try:
            async with AsyncExitStack() as stack:
                yield await self._on_shared(to, open_, stack) or await self._on_new(to, dial, open_, asker, stack)
        finally:
            self._forget(to)

    async def _on_shared(self, to: Destination, open_: Open[C], stack: AsyncExitStack) -> C | None:
        if (line := self._vacant(to)) is None and (dialling := self._dialling.get(to)):
            await asyncio.wait({dialling})  # once: who finds no room then does not stand in line again
            line = self._vacant(to)
        if line is None:
            return None
        try:
            return await stack.enter_async_context(line.channel(open_))
        except (asyncssh.Error, OSError):
            return None  # the host allows no more sessions, or the line is just being lost: a new one will tell

    async def _on_new(self, to: Destination, dial: Dial, open_: Open[C], asker: Asker, stack: AsyncExitStack) -> C:
        line = await self._dial(to, dial, asker)
        return await stack.enter_async_context(line.channel(open_))

    async def _dial(self, to: Destination, dial: Dial, asker: Asker) -> Line:
        done = asyncio.get_running_loop().create_future()
        witness = _Witness(asker, done)
        self._dialling.setdefault(to, done)
        try:
            connection = await dial(witness)
        finally:
            witness.release()
            if self._dialling.get(to) is done:
                del self._dialling[to]
        line = Line(connection)
        if not witness.was_asked:
            self._lines.setdefault(to, []).append(line)
        return line

    def _vacant(self, to: Destination) -> Line | None:
        if to.tunnel.closed.done():
            return None
        return next((line for line in self._lines.get(to, ()) if line.has_room), None)

    def _forget(self, to: Destination) -> None:
        """Let go of the lines that are over."""
        if left := [line for line in self._lines.get(to, ()) if not line.is_over]:
            self._lines[to] = left
        else:
            self._lines.pop(to, None)


class _Witness:
    """Passes questions on to the person, and knows whether there were any: with the first, nobody waits any longer."""

    def __init__(self, asker: Asker, waiting: asyncio.Future[None]) -> None:
        self._asker = asker
        self._waiting = waiting
        self.was_asked = False

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        self.was_asked = True
        self.release()
        return await self._asker.ask(prompt, echo=echo)

    def tell(self, text: str) -> None:
        self._asker.tell(text)

    def release(self) -> None:
        if not self._waiting.done():
            self._waiting.set_result(None)
