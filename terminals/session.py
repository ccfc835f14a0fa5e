"""A live terminal: one person's shell on one host, with the browsers that look at it.

It is not a websocket and outlives each one. It owns the SSH channel, the newest output by absolute offset (`Ring`),
the size and the viewers; it knows no transport, no database and no rule of access. `run` is its whole life.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import asyncssh

from terminals.end import End
from terminals.prompt import Answer
from terminals.protocol import INPUT_WINDOW, WINDOW, BadMessage, Close, Role
from terminals.ring import Ring
from terminals.shell import Shell, open_shell
from terminals.viewer import Viewer

LOW_WATER = WINDOW // 2
"""Reading goes on once no more than this is unacknowledged: at least the size of an ack, else both sides wait."""
INPUT_ACK_S = 0.05
LINGER_S = 5
"""How long viewers may take to read the last output before they are told of the end."""


Dial = Callable[["TerminalSession"], Awaitable[asyncssh.SSHClientConnection]]
"""Opens the SSH connection; may ask the person through the session."""
Explain = Callable[[BaseException], End]
"""What an exception of `Dial` means."""


@dataclass(eq=False)
class TerminalSession:
    id: UUID
    person: str
    cols: int
    rows: int
    ring: Ring = field(default_factory=Ring)
    viewers: list[Viewer] = field(default_factory=list)
    input_offset: int = 0
    """Input bytes taken over, since the beginning."""
    opened: float = field(default_factory=time.monotonic)
    last_input: float = field(default_factory=time.monotonic)
    unattended_since: float | None = field(default_factory=time.monotonic)
    """Since when no driver is attached; None while one is."""

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[End] = self._loop.create_future()
        self._shell: Shell | None = None
        self._answer: Answer | None = None
        self._early_input = bytearray()
        self._input_acked = 0
        self._flush_due = False
        self._ack_timer: asyncio.TimerHandle | None = None

    # Life

    async def run(self, dial: Dial, explain: Explain) -> End:
        """Dial, run the shell, and answer why it is over. Cancelling it ends the shell and closes the connection."""
        life = self._loop.create_task(self._live(dial, explain))
        try:
            await asyncio.wait({life, self._stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            life.cancel()
            await asyncio.wait({life})
        return self._stop.result() if self._stop.done() else life.result()

    async def _live(self, dial: Dial, explain: Explain) -> End:
        try:
            connection = await dial(self)
        except Exception as error:
            return explain(error)
        try:
            self._shell = await open_shell(connection, self, cols=self.cols, rows=self.rows)
            self._shell.write(bytes(self._early_input))
            self._early_input.clear()
            self._schedule_input_ack()
            return await self._shell.over
        except (asyncssh.Error, OSError) as error:
            return explain(error)
        finally:
            self._shell = None
            connection.abort()

    def end(self, end: End) -> None:
        """Ask it to be over, for this reason. The first one counts."""
        if not self._stop.done():
            self._stop.set_result(end)

    async def say_goodbye(self, end: End) -> None:
        """Let viewers read to the end of the output, where the program ended by itself, then tell each one why."""
        if end.exit is not None:
            deadline = self._loop.time() + LINGER_S
            while any(viewer.sent < self.ring.head for viewer in self.viewers) and self._loop.time() < deadline:
                self.flush()
                await asyncio.sleep(0.02)
        for viewer in list(self.viewers):
            if end.exit is not None:
                viewer.tell("exit", **end.exit)
            viewer.close(end.code, end.reason, retry_after_s=end.retry_after_s)
        self.viewers.clear()

    # Viewers

    def attach(self, viewer: Viewer, *, cols: int, rows: int, output_offset: int | None) -> None:
        """Add a viewer. A new driver takes the place of the one before. BadMessage when its offset cannot be."""
        viewer.start_at(self.ring, output_offset)
        if viewer.role is Role.DRIVER:
            for other in [other for other in self.viewers if other.role is Role.DRIVER]:
                self.detach(other)
                other.close(Close.TAKEN_OVER, "this terminal was opened in another window")
            self.unattended_since = None
            self.last_input = time.monotonic()
        self.viewers.append(viewer)
        self._welcome(viewer, output_offset)
        self.resize(viewer, cols, rows)
        self.flush()

    def _welcome(self, viewer: Viewer, wanted: int | None) -> None:
        viewer.tell(
            "attached",
            session=str(self.id),
            role=viewer.role,
            cols=self.cols,
            rows=self.rows,
            output_offset=viewer.sent,
            input_offset=self.input_offset,
            window=WINDOW,
            head=self.ring.head,
        )
        if wanted is not None and viewer.sent > wanted:
            viewer.tell("gap", **{"from": wanted, "to": viewer.sent, "reason": "ring"})
        if wanted is None and self.ring.head > viewer.sent:
            viewer.tell("replay", until=self.ring.head)

    def detach(self, viewer: Viewer) -> None:
        if viewer not in self.viewers:
            return
        self.viewers.remove(viewer)
        if self.driver is None:
            self.unattended_since = time.monotonic()
        self._schedule_flush()

    @property
    def driver(self) -> Viewer | None:
        return next((viewer for viewer in self.viewers if viewer.role is Role.DRIVER), None)

    # Output: from the shell to the viewers

    def output(self, data: bytes) -> None:
        """Bytes from the host."""
        self.ring.append(data)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        # Once per event-loop tick, never by a timer: an echo goes out at once, and a flood coalesces by itself.
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what may be sent, and hold the host back while the driver's terminal is too far behind."""
        self._flush_due = False
        for viewer in self.viewers:
            viewer.pump(self.ring)
        self._regulate()

    def _regulate(self) -> None:
        if self._shell is None:
            return
        driver = self.driver
        behind = self.ring.head - driver.acked if driver else 0
        if behind > WINDOW:
            self._shell.pause()
        elif behind <= LOW_WATER:
            self._shell.resume()

    def ack(self, viewer: Viewer, offset: int) -> None:
        viewer.ack(offset)
        self.flush()

    # Input: from the driver to the shell

    def input(self, viewer: Viewer, data: bytes) -> None:
        """Bytes that the driver typed. BadMessage from a watcher, or beyond what may be unacknowledged."""
        if viewer.role is not Role.DRIVER:
            raise BadMessage("a watcher does not type")
        self.input_offset += len(data)
        if self.input_offset - self._input_acked > INPUT_WINDOW:
            raise BadMessage(f"more than {INPUT_WINDOW} unacknowledged input bytes")
        self.last_input = time.monotonic()
        self._take(data)
        self._schedule_input_ack()

    def _take(self, data: bytes) -> None:
        if self._answer is not None and not self._answer.done.done():
            shown, data = self._answer.feed(data)
            if shown:
                self.output(shown)
        if not data:
            return
        if self._shell is not None:
            self._shell.write(data)
        else:
            self._early_input += data

    def _schedule_input_ack(self) -> None:
        if self._ack_timer is None:
            self._ack_timer = self._loop.call_later(INPUT_ACK_S, self.acknowledge_input)

    def acknowledge_input(self) -> None:
        """Tell the driver how much input was taken over, unless the host does not take it right now."""
        self._ack_timer = None
        if self._early_input or (self._shell is not None and not self._shell.writable):
            return  # the shell's opening or its `resume_writing` calls again; until then the input window bounds us
        self._input_acked = self.input_offset
        if driver := self.driver:
            driver.tell("input_ack", offset=self.input_offset)

    def resize(self, viewer: Viewer, cols: int, rows: int) -> None:
        """The driver's size becomes the terminal's; a watcher's does not count."""
        if viewer.role is not Role.DRIVER or (cols, rows) == (self.cols, self.rows):
            return
        self.cols, self.rows = cols, rows
        if self._shell is not None:
            self._shell.resize(cols, rows)
        for other in self.viewers:
            other.tell("resized", offset=self.ring.head, cols=cols, rows=rows)

    # Questions before the shell is there (`tunnels.reach.Asker`)

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        """One typed line, which is neither shown (unless `echo`) nor kept. Cancelling it withdraws the question."""
        self.tell(prompt, newline=False)
        # What was typed before the question is kept for the shell: nobody's `ls` becomes a password.
        self._answer = Answer(echo=echo)
        try:
            return await self._answer.done
        finally:
            self._answer = None

    def tell(self, text: str, *, newline: bool = True) -> None:
        self.output(text.encode() + (b"\r\n" if newline else b""))
