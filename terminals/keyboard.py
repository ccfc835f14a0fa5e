"""The way in of a terminal session: what the driver types, counted, acknowledged, and kept until the shell is there.

Before that, a line of it may be the answer to a question of the host's (a password): that line goes to who asked and
is neither shown (unless echoed) nor kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from terminals.prompt import Answer
from terminals.protocol import INPUT_WINDOW, BadMessage
from terminals.shell import Shell

ACK_S = 0.05


class Keyboard:
    """`show` puts what a question echoes on the screen; `acknowledged` hears how much input was taken over."""

    def __init__(self, show: Callable[[bytes], None], acknowledged: Callable[[int], None]) -> None:
        self.offset = 0
        """Input bytes taken over, since the beginning."""
        self._show = show
        self._acknowledged = acknowledged
        self._loop = asyncio.get_running_loop()
        self._acked = 0
        self._early = bytearray()
        self._shell: Shell | None = None
        self._answer: Answer | None = None
        self._ack_timer: asyncio.TimerHandle | None = None

    def connect(self, shell: Shell | None) -> None:
        """The shell is there: what was typed before goes to it. None: it is gone."""
        self._shell = shell
        if shell is not None:
            shell.write(bytes(self._early))
            self._early.clear()
            self._schedule_ack()

    def type(self, data: bytes) -> None:
        """The next input bytes. BadMessage beyond what may be unacknowledged."""
        self.offset += len(data)
        if self.offset - self._acked > INPUT_WINDOW:
            raise BadMessage(f"more than {INPUT_WINDOW} unacknowledged input bytes")
        self._take(data)
        self._schedule_ack()

    def acknowledge(self) -> None:
        """Say how much was taken over, unless the host does not take it right now."""
        self._ack_timer = None
        if self._early or (self._shell is not None and not self._shell.writable):
            return  # the shell's opening or its `resume_writing` calls again; until then the input window bounds us
        self._acked = self.offset
        self._acknowledged(self.offset)

    async def ask(self, *, echo: bool) -> str | None:
        """One typed line. Cancelling it withdraws the question."""
        # What was typed before the question is kept for the shell: nobody's `ls` becomes a password.
        self._answer = Answer(echo=echo)
        try:
            return await self._answer.done
        finally:
            self._answer = None

    def _take(self, data: bytes) -> None:
        if self._answer is not None and not self._answer.done.done():
            shown, data = self._answer.feed(data)
            if shown:
                self._show(shown)
        if not data:
            return
        if self._shell is not None:
            self._shell.write(data)
        else:
            self._early += data

    def _schedule_ack(self) -> None:
        if self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACK_S, self.acknowledge)
