"""A live terminal: one person's shell on one host, with the browsers that look at it.

It is not a websocket and outlives each one. It owns the shell, the newest output by absolute offset, the size and the
viewers; it knows no transport, no database and no rule of access. `run` is its whole life.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from uuid import UUID

from terminals.end import End
from terminals.history import History
from terminals.keyboard import Keyboard
from terminals.limits import Clocks, Limit, Limits
from terminals.protocol import WINDOW, BadMessage, Close, Role
from terminals.shell import Program, Shell
from terminals.viewer import Viewer

LINGER_S = 5
"""How long viewers may take to read the last output before they are told of the end."""
NUDGE_S = 0.1
"""For so long a program has one line less: it notices, and draws its whole screen anew when it is given back."""
QUIET_S = 0.005
"""After an interrupt: a host this long without output has said what it had to say..."""
QUIET_MOST_S = 0.25
"""... or, far away, as long as its answers take, up to this..."""
HOLD_MOST_S = 0.5
"""... and one that ignores the interrupt is shown again after this."""


Dial = Callable[["TerminalSession"], AbstractAsyncContextManager[Shell]]
"""Opens the shell; may ask the person through the session. Leaving it closes the shell."""
Explain = Callable[[BaseException], End]
"""What an exception of `Dial` means."""


@dataclass(slots=True)
class _Hold:
    """An interrupt under way: the driver is sent nothing until the host falls silent."""

    viewer: Viewer
    until: float
    last_output: float


@dataclass(eq=False)
class TerminalSession:
    id: UUID
    person: str
    cols: int
    rows: int
    limits: Limits
    program: Program = field(default_factory=Program)
    history: History = field(default_factory=History)
    viewers: list[Viewer] = field(default_factory=list)
    opened: float = field(default_factory=time.monotonic)
    last_input: float = field(default_factory=time.monotonic)
    unattended_since: float | None = field(default_factory=time.monotonic)
    """Since when no driver is attached; None while one is."""

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[End] = self._loop.create_future()
        self._shell: Shell | None = None
        self._keyboard = Keyboard(self.output, self._tell_input_ack)
        self._hold: _Hold | None = None
        self._warned: set[Limit] = set()
        self._flush_due = False
        self._nudge: asyncio.TimerHandle | None = None

    # Life

    async def run(self, dial: Dial, explain: Explain) -> End:
        """Dial, run the shell, and answer why it is over. Cancelling it ends the shell."""
        life = self._loop.create_task(self._live(dial, explain))
        try:
            await asyncio.wait({life, self._stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            life.cancel()
            await asyncio.wait({life})
        return self._stop.result() if self._stop.done() else life.result()

    async def _live(self, dial: Dial, explain: Explain) -> End:
        try:
            async with dial(self) as shell:
                self._shell = shell
                self._keyboard.connect(shell)
                return await shell.over
        except Exception as error:
            return explain(error)
        finally:
            self._shell = None
            self._keyboard.connect(None)

    def end(self, end: End) -> None:
        """Ask it to be over, for this reason. The first one counts."""
        if not self._stop.done():
            self._stop.set_result(end)

    async def say_goodbye(self, end: End) -> None:
        """Let viewers read to the end of the output, where the program ended by itself, then tell each one why."""
        if end.exit is not None:
            deadline = self._loop.time() + LINGER_S
            while any(viewer.sent < self.history.head for viewer in self.viewers) and self._loop.time() < deadline:
                self.flush()
                await asyncio.sleep(0.02)
        for viewer in list(self.viewers):
            if end.exit is not None:
                viewer.tell("exit", **end.exit)
            viewer.close(end.code, end.reason, retry_after_s=end.retry_after_s)
        self.viewers.clear()

    # Limits

    def tick(self, now: float) -> None:
        """Once a second or so: end at a limit, warn of one, let go of viewers that do nothing."""
        for viewer in [viewer for viewer in self.viewers if viewer.is_stalled(now)]:
            self.detach(viewer)
            viewer.close(Close.STALLED, "this browser took nothing for a minute")
        clocks = Clocks(self.opened, self.last_input, self.unattended_since)
        if end := self.limits.exceeded(clocks, now):
            self.end(end)
        elif self.driver is not None:
            self._warn(self.limits.near(clocks, now))

    def _warn(self, near: dict[Limit, int]) -> None:
        assert self.driver is not None
        for kind in near.keys() - self._warned:
            self.driver.tell("limit", kind=kind, in_s=near[kind])
        for kind in self._warned - near.keys():
            self.driver.tell("limit", kind=kind, in_s=None)
        self._warned = set(near)

    def stay(self, viewer: Viewer) -> None:
        """The driver is there. Watchers do not count."""
        if viewer.role is not Role.DRIVER:
            return
        self.last_input = time.monotonic()
        if Limit.IDLE in self._warned:
            self._warned.discard(Limit.IDLE)
            viewer.tell("limit", kind=Limit.IDLE, in_s=None)

    # Viewers

    def attach(self, viewer: Viewer, *, cols: int, rows: int, output_offset: int | None) -> None:
        """Add a viewer. A new driver takes the place of the one before. BadMessage when its offset cannot be."""
        restore = viewer.start_at(self.history, output_offset)
        if viewer.role is Role.DRIVER:
            for other in [other for other in self.viewers if other.role is Role.DRIVER]:
                self.detach(other)
                other.close(Close.TAKEN_OVER, "this terminal was opened in another window")
            self.unattended_since = None
            self.last_input = time.monotonic()
            self._warned.clear()
        self.viewers.append(viewer)
        self._welcome(viewer, output_offset, restore)
        is_drawn_anew = self.resize(viewer, cols, rows)
        if restore and not is_drawn_anew:
            self._draw_anew()
        self.flush()

    def _welcome(self, viewer: Viewer, wanted: int | None, restore: str) -> None:
        viewer.tell(
            "attached",
            session=str(self.id),
            role=viewer.role,
            cols=self.cols,
            rows=self.rows,
            output_offset=viewer.sent,
            input_offset=self.input_offset,
            window=WINDOW,
            head=self.history.head,
            grace=self.limits.grace_s,
        )
        if wanted is not None and viewer.sent > wanted:
            viewer.tell("gap", **{"from": wanted, "to": viewer.sent, "reason": "ring"})
        if wanted is None and self.history.head > viewer.sent:
            viewer.tell("replay", until=self.history.head)
        if restore:
            viewer.tell("screen", sequence=restore)

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
        self.history.append(data)
        if self._hold is not None:
            self._hold.last_output = self._loop.time()
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
            viewer.pump(self.history)
        self._regulate()

    def _regulate(self) -> None:
        if self._shell is None:
            return
        driver = self.driver
        if driver is None or driver.is_held:
            self._shell.resume()
            return
        behind = self.history.head - driver.acked
        if behind > driver.window.size:
            self._shell.pause()
        elif behind <= driver.window.size // 2:  # at least the size of an ack, else both sides wait
            self._shell.resume()

    def ack(self, viewer: Viewer, offset: int) -> None:
        viewer.ack(offset)
        self.flush()

    # Input: from the driver to the shell

    @property
    def input_offset(self) -> int:
        """Input bytes taken over, since the beginning."""
        return self._keyboard.offset

    def input(self, viewer: Viewer, data: bytes) -> None:
        """Bytes that the driver typed. BadMessage from a watcher, or beyond what may be unacknowledged."""
        if viewer.role is not Role.DRIVER:
            raise BadMessage("a watcher does not type")
        self._keyboard.type(data)
        self.stay(viewer)

    def interrupt(self, viewer: Viewer) -> None:
        """^C from the driver: output that waits behind what it was sent already is not shown any more, but its end.

        What the host still sends until it falls silent was printed before the ^C as well.
        """
        if viewer.role is Role.DRIVER and self._hold is None and viewer.is_behind(self.history):
            now = self._loop.time()
            self._hold = _Hold(viewer, now + HOLD_MOST_S, now)
            viewer.is_held = True
            self._loop.call_later(self._quiet_s, self._let_go)
            self._regulate()
        self.input(viewer, b"\x03")

    @property
    def _quiet_s(self) -> float:
        return min(QUIET_MOST_S, max(QUIET_S, 1.5e-3 * (self.tunnel_ms or 0)))

    def _let_go(self) -> None:
        """The end of an interrupt, unless the host still prints."""
        hold, now = self._hold, self._loop.time()
        if hold is None:
            return
        if hold.viewer in self.viewers and now < hold.until and now - hold.last_output < self._quiet_s:
            self._loop.call_later(self._quiet_s, self._let_go)
            return
        self._hold, hold.viewer.is_held = None, False
        if hold.viewer in self.viewers and hold.viewer.drop_stale(self.history):
            self._draw_anew()
        self.flush()

    def acknowledge_input(self) -> None:
        """The host takes input again."""
        self._keyboard.acknowledge()

    def _tell_input_ack(self, offset: int) -> None:
        if driver := self.driver:
            driver.tell("input_ack", offset=offset)

    @property
    def tunnel_ms(self) -> float | None:
        """The newest round trip to the host's SSH server; None before the first."""
        return self._shell.round_trip.newest_ms() if self._shell is not None else None

    # Size

    def resize(self, viewer: Viewer, cols: int, rows: int) -> bool:
        """The driver's size becomes the terminal's; a watcher's does not count. Whether it has changed."""
        if viewer.role is not Role.DRIVER or (cols, rows) == (self.cols, self.rows):
            return False
        self.cols, self.rows = cols, rows
        self._give_size()
        for other in self.viewers:
            other.tell("resized", offset=self.history.head, cols=cols, rows=rows)
        return True

    def _give_size(self) -> None:
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None
        if self._shell is not None:
            self._shell.resize(self.cols, self.rows)

    def _draw_anew(self) -> None:
        """Make a full-screen program draw all of its screen: what it had drawn there may have been left out."""
        if self._shell is None or self._nudge is not None or not self.history.is_alternate or self.rows < 2:
            return
        self._shell.resize(self.cols, self.rows - 1)
        self._nudge = self._loop.call_later(NUDGE_S, self._give_size)

    # Questions before the shell is there (`tunnels.reach.Asker`)

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        """One typed line, which is neither shown (unless `echo`) nor kept. Cancelling it withdraws the question."""
        self.tell(prompt, newline=False)
        return await self._keyboard.ask(echo=echo)

    def tell(self, text: str, *, newline: bool = True) -> None:
        self.output(text.encode() + (b"\r\n" if newline else b""))
