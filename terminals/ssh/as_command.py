"""A person's SSH channel without a pty, joined to a `Command` on the host: gone with its channel, on record by file."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext

import asyncssh

from terminals.call import Call
from terminals.models import Session
from terminals.ssh.command import Command, Person, Taps, opening
from terminals.ssh.filelog import FileLog
from tunnels.errors import Refused
from tunnels.outlet import Outlet

EOF_PATIENCE_S = 0.5
"""How long the end of the output waits for the command's exit."""


class AsCommand:
    """`changed` is called when input can be taken again."""

    def __init__(
        self,
        row: Session,
        channel: asyncssh.SSHServerChannel[bytes],
        changed: Callable[[], None],
        *,
        run: str | None,
        subsystem: str | None,
        env: dict[str, str],
    ) -> None:
        self._channel = channel
        self._files = FileLog(row.pk, changed=changed, cut=self._cut) if subsystem else None
        taps = Taps(self._files.to_host, self._files.to_person) if self._files else None
        self.command = Command(Person(self._write, self._write_eof, changed), taps)
        self.outlet = Outlet(channel, self._hold)
        self._open = opening(self.command, run=run, subsystem=subsystem, env=env)
        self._changed = changed
        self._is_there = False
        self._eof: asyncio.TimerHandle | None = None

    async def talk(self, call: Call) -> None:
        """From its opening on the host to its end there. Cancelling it ends it."""
        asker = NobodyToAsk()
        try:
            async with self._files.kept() if self._files else nullcontext(), call.channel(self._open, asker=asker):
                self._is_there = True
                self._changed()
                await self.command.closed
        except (Refused, asyncssh.Error, OSError) as error:
            reason = call.explain(error).reason
            self.command.close(f"{reason}; it asks for a password: use ssh -t" if asker.was_asked else reason)
        finally:
            self.command.close()
            if self._eof is not None:
                self._eof.cancel()

    def feed(self, waiting: deque[bytes], *, has_eof: bool) -> bool:
        """Take what can be taken. Whether the person must wait before there is more."""
        if not self._is_there:
            return True
        while waiting:
            self.command.write(waiting.popleft())
        if has_eof:
            self.command.write_eof()
        return self.command.is_full or (self._files is not None and self._files.is_full)

    def resize(self, cols: int, rows: int) -> None:
        """There is no terminal."""

    def send_signal(self, signal: str) -> None:
        self.command.send_signal(signal)

    def leave(self) -> None:
        self.command.close()

    def _cut(self, reason: str) -> None:
        self.command.close(reason)

    def _hold(self) -> None:
        self.command.hold(self.outlet.is_full)

    def _write(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.outlet.write(data, datatype)

    def _write_eof(self) -> None:
        """Not at once: mostly the exit is next, and closing the channel says the same. PuTTY and dropbear close a
        channel that has seen EOF both ways, AsyncSSH answers that with its own close, and a later status is lost."""
        self._eof = asyncio.get_running_loop().call_later(EOF_PATIENCE_S, self._send_eof)

    def _send_eof(self) -> None:
        if not self._channel.is_closing():
            self._channel.write_eof()


class NobodyToAsk:
    """A command has no terminal in which a host's question could be asked, and its stdin is not for answers."""

    was_asked = False

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        self.was_asked = True
        return None

    def tell(self, text: str) -> None:
        """Nobody sees it."""
