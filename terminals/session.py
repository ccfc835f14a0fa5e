"""A live terminal: one person's shell on one host, with those who look at it.

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

from terminals.audience import Audience
from terminals.company import Company, News
from terminals.echo import EchoClock
from terminals.end import End
from terminals.history import History
from terminals.interrupts import Interrupts
from terminals.keyboard import Keyboard
from terminals.limits import Clocks, Limit, Limits, Warnings
from terminals.nudge import Nudge
from terminals.protocol import WINDOW, BadMessage, Close, Role
from terminals.recording.hook import Recorder
from terminals.shell import Program, Shell
from terminals.viewer import Viewer
from tunnels.text import printable

MAX_MARK = 200
LINGER_S = 5
"""How long the driver may take to read the last output before it is told of the end..."""
LINGER_WATCHERS_S = 1
"""... and how long it waits for those who watch."""

Dial = Callable[["TerminalSession"], AbstractAsyncContextManager[Shell]]
"""Opens the shell; may ask the person through the session. Leaving it closes the shell."""
Explain = Callable[[BaseException], End]
"""What an exception of `Dial` means."""


@dataclass(eq=False)
class TerminalSession:
    id: UUID
    person: str
    cols: int
    rows: int
    limits: Limits
    program: Program = field(default_factory=Program)
    history: History = field(default_factory=History)
    opened: float = field(default_factory=time.monotonic)
    last_input: float = field(default_factory=time.monotonic)
    unattended_since: float | None = field(default_factory=time.monotonic)
    """Since when neither the driver nor the owner is attached; None while one is."""
    witness: Callable[[News, Viewer, str], object] | None = None
    """Hears who joined, left or changed roles, with the reason where there is one."""

    recorder: Recorder | None = None

    def __post_init__(self) -> None:
        self.company = Company(self.person, self._noted)
        self._audience = Audience(lambda: (self.company.watchers, self.history), self._draw_anew)
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[End] = self._loop.create_future()
        self._shell: Shell | None = None
        self._keyboard = Keyboard(self.output, self._tell_input_ack)
        self._interrupts = Interrupts(lambda: self.tunnel_ms, self._after_interrupt)
        self._echo = EchoClock()
        self._warnings = Warnings()
        self._flush_due = False
        self._nudge = Nudge(self._give_size)

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

    @property
    def is_ending(self) -> bool:
        return self._stop.done()

    def end(self, end: End) -> None:
        """Ask it to be over, for this reason. The first one counts."""
        if not self._stop.done():
            self._stop.set_result(end)

    async def say_goodbye(self, end: End) -> None:
        """Let viewers read to the end of the output, where the program ended by itself, then tell each one why."""
        if end.exit is not None:
            begun = self._loop.time()
            while any(self._is_read_by(viewer, self._loop.time() - begun) for viewer in self.viewers):
                self.flush()
                await asyncio.sleep(0.02)
        for viewer in list(self.viewers):
            if end.exit is not None:
                viewer.tell("exit", **end.exit)
            viewer.close(end.code, end.reason, retry_after_s=end.retry_after_s)
        self.company.viewers.clear()

    def _is_read_by(self, viewer: Viewer, for_s: float) -> bool:
        """Whether the last output is worth waiting for, after so long. A watcher delays the driver's end a little."""
        patience_s = LINGER_S if viewer.role is Role.DRIVER else min(LINGER_S, LINGER_WATCHERS_S)
        return viewer.sent < self.history.head and for_s < patience_s

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
            self._warnings.are(self.limits.near(clocks, now), self.driver.tell)

    def stay(self, viewer: Viewer) -> None:
        """The driver is there. Watchers do not count."""
        if viewer.role is not Role.DRIVER:
            return
        self.last_input = time.monotonic()
        self._warnings.take_back({Limit.IDLE}, viewer.tell)

    # Viewers, and who of them holds the keyboard

    @property
    def viewers(self) -> list[Viewer]:
        return self.company.viewers

    @property
    def driver(self) -> Viewer | None:
        return self.company.driver

    def attach(self, viewer: Viewer, *, cols: int, rows: int, output_offset: int | None) -> None:
        """Add a viewer, in the role that it can have now. A driver takes the place of its own window before.

        BadMessage when its offset cannot be.
        """
        restore = viewer.start_at(self.history, output_offset)
        for other in self.company.join(viewer):
            other.close(Close.TAKEN_OVER, "this terminal was opened in another window")
        if viewer.role is Role.DRIVER:
            self._attended()
        self._count_attendance()
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
            owner=self.person,
            viewer=viewer.id,
            recorded=self.recorder is not None and not self.recorder.problem,
        )
        if self.recorder is not None and self.recorder.problem:
            viewer.tell("notice", text=f"this terminal is not recorded now: {self.recorder.problem}")
        if wanted is not None and viewer.sent > wanted:
            viewer.tell("gap", **{"from": wanted, "to": viewer.sent, "reason": "ring"})
        if wanted is None and self.history.head > viewer.sent:
            viewer.tell("replay", until=self.history.head)
        if restore:
            viewer.tell("screen", sequence=restore)

    def detach(self, viewer: Viewer, reason: str = "") -> None:
        """It goes. A keyboard that it had falls back to the owner, when they are here."""
        if viewer not in self.viewers:
            return
        self.company.leave(viewer, reason)
        if viewer.role is Role.DRIVER:
            self._interrupts.give_up()
            if owner := self.company.of_owner():
                self.give(owner)
        self._count_attendance()
        self._schedule_flush()

    def remove(self, viewer: Viewer, reason: str, code: Close = Close.NOT_ALLOWED) -> None:
        """It must go, for this reason. A keyboard that it had waits for the owner, not for its return."""
        self.detach(viewer, reason)
        if viewer.role is Role.DRIVER and self.driver is None:
            self.company.give(None)
        viewer.close(code, reason)

    def ask_role(self, viewer: Viewer, role: Role) -> None:
        """The owner takes the keyboard at once; others ask them for it, or give it back. BadMessage when never."""
        if role is Role.WATCHER:
            self.company.want(viewer, False)
            if viewer.role is Role.DRIVER and not viewer.seat.is_owner:
                self.give(self.company.of_owner())
        elif not viewer.seat.may_drive:
            raise BadMessage("this viewer may watch, and never type")
        elif viewer.seat.is_owner:
            self.give(viewer)
        elif viewer.role is Role.WATCHER:
            self.company.want(viewer, True)

    def give(self, viewer: Viewer | None) -> None:
        """Hand the keyboard to this viewer; None: it waits for the owner. What the one before typed stays typed."""
        before = self.driver
        self.company.give(viewer)
        if before is viewer:
            return
        self._interrupts.give_up()
        if before is not None:
            self._warnings.take_back(set(Limit), before.tell)
        for changed in (before, viewer):
            if changed is not None:
                size = {"cols": self.cols, "rows": self.rows}
                changed.tell("role", role=changed.role, input_offset=self.input_offset, **size)
        self._attended()
        self._count_attendance()
        self.flush()

    def _attended(self) -> None:
        self.last_input = time.monotonic()
        self._warnings = Warnings()

    def _count_attendance(self) -> None:
        if self.company.is_attended:
            self.unattended_since = None
        elif self.unattended_since is None:
            self.unattended_since = time.monotonic()

    def _noted(self, news: News, viewer: Viewer, reason: str) -> None:
        what = f"is {viewer.role} now" if news is News.ROLE_CHANGED else news
        self.mark(f"{viewer.seat.label} {what}" + (f" as {viewer.role}" if news is News.JOINED else ""))
        if self.witness is not None:
            self.witness(news, viewer, reason)

    def say(self, text: str) -> None:
        """A line for everybody who is here, and for the recording."""
        self.mark(text)
        for viewer in self.viewers:
            viewer.tell("notice", text=text)

    def mark(self, text: str) -> None:
        """Something to find in the recording."""
        if self.recorder is not None:
            self.recorder.mark(printable(text, MAX_MARK))

    # Output: from the shell to the viewers

    def output(self, data: bytes) -> None:
        """Bytes from the host, or of the broker's own words. What is typed never comes by here."""
        self.history.append(data)
        if self.recorder is not None:
            self.recorder.output(data)
        self._interrupts.heard()
        self._echo.shown()
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        # Once per event-loop tick, never by a timer: an echo goes out at once, and a flood coalesces by itself.
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what may be sent, the driver first; hold the host back while the driver's terminal is too far behind."""
        self._flush_due = False
        if driver := self.driver:
            driver.pump(self.history)
        self._regulate()
        self._audience.flush()

    def _regulate(self) -> None:
        if self._shell is None:
            return
        if self.recorder is not None and self.recorder.is_behind:
            self._shell.pause()
            return
        driver = self.driver
        if driver is None or driver.is_held:
            self._shell.resume()
            return
        behind = self.history.head - driver.acked
        if behind > driver.window.size:
            self._interrupts.flooded()
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
        """Bytes that the driver typed. BadMessage from a watcher, or beyond what may be unacknowledged.

        What was on its way from a driver when the keyboard was taken is dropped: it comes after the new driver's.
        """
        if viewer.role is not Role.DRIVER:
            if viewer.has_driven:
                return
            raise BadMessage("a watcher does not type")
        self._keyboard.type(data)
        self._echo.typed()
        self.stay(viewer)

    def interrupt(self, viewer: Viewer) -> None:
        """^C from the driver: output that waits behind what it was sent already is not shown any more, but its end."""
        if viewer.role is Role.DRIVER and self._interrupts.begin(viewer, self.history):
            self._regulate()
        self.input(viewer, b"\x03")

    def _after_interrupt(self, viewer: Viewer) -> None:
        if viewer in self.viewers and viewer.drop_stale(self.history):
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
        if self.recorder is not None:
            self.recorder.resize(cols, rows)
        self._nudge.end()
        for other in self.viewers:
            other.tell("resized", offset=self.history.head, cols=cols, rows=rows)
        return True

    def _give_size(self, less: int) -> None:
        if self._shell is not None:
            self._shell.resize(self.cols, self.rows - less)

    def _draw_anew(self) -> None:
        """Make a full-screen program draw all of its screen: what it had drawn there may have been left out."""
        if self._shell is not None and self.history.is_alternate and self.rows > 1:
            self._nudge.begin()

    # Questions before the shell is there (`tunnels.reach.Asker`)

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        """One typed line, which is neither shown (unless `echo`) nor kept. Cancelling it withdraws the question."""
        self.tell(prompt, newline=False)
        return await self._keyboard.ask(echo=echo)

    def tell(self, text: str, *, newline: bool = True) -> None:
        self.output(text.encode() + (b"\r\n" if newline else b""))
