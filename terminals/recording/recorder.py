"""Records one terminal: takes what happens, on the event loop and without waiting, and has it written by a thread.

At most one job of a recording is under way at a time; between two, what has come meanwhile is encoded on the loop. What
waits is bounded: past that the recorder `is_behind`, and the terminal holds its host back until the disk has caught up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog

from terminals.recording.castfile import CastFile
from terminals.recording.digest import Sealed
from terminals.recording.format import Event, Kind
from terminals.recording.writers import Writers

FLUSH_S = 0.2
"""What was shown is in the file after this, unless the disk is slow..."""
SYNC_S = 4.0
"""... and on the disk after this."""
BATCH = 128 * 1024
"""Bytes that are encoded at once: well under a millisecond of text, two of noise."""
STORE = 2 * 1024 * 1024
"""Bytes for which a writer is asked at once: often to hand over to another thread costs more than to encode..."""
STORE_ENCODED = 256 * 1024
"""... or so many when they are encoded, as noise has them."""
MOST = 4 * 1024 * 1024
"""Bytes that may wait. Below half of it, the recorder is not behind any more."""
SLOW_S = 1.0
"""Behind for so long, those who wait for it are told..."""
TOO_SLOW_S = 5.0
"""... and a recording that may have gaps does not wait any longer."""
RETRY_S = 1.0
"""How often such a recording is tried again."""
START_S = 1.5
SEAL_S = 3.0
"""How long the beginning and the end of a terminal wait for the disk."""

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Whom a recorder tells, on the event loop."""

    def caught_up(self) -> None:
        """It is not behind any more."""

    def slow(self) -> None:
        """It has been behind for a while."""

    def failed(self, problem: str) -> None:
        """From now on nothing is recorded."""

    def resumed(self, gap: str) -> None:
        """It is again; `gap` says what is missing. Only of a recorder that `resumes`."""


@dataclass(slots=True)
class _Gap:
    problem: str
    lost: int
    """Bytes of output."""

    def __str__(self) -> str:
        return f"{self.lost} bytes of output are missing here: {self.problem}"


class Recorder:
    """A `terminals.recording.hook.Recorder`. `resumes`: an error leaves a gap; else nothing is recorded after it."""

    def __init__(
        self, file: CastFile, writers: Writers, listener: Listener, *, cols: int, rows: int, resumes: bool
    ) -> None:
        self._file = file
        self._writers = writers
        self._listener = listener
        self._size = (cols, rows)
        self._resumes = resumes
        self._loop = asyncio.get_running_loop()
        self._begun = time.monotonic()
        self._events: deque[Event] = deque()
        """Not encoded yet."""
        self._put = self._encoded = self._written = 0
        """Bytes that have come, of these encoded, and of these in the file; the last is counted by the writer."""
        self._unsaved = 0
        """Bytes of output that are encoded, and that no job has yet."""
        self._is_busy = False
        """A job is under way. Set here, taken back by the writer when it went well."""
        self._was_behind = False
        self._gap: _Gap | None = None
        self._gaps: list[str] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._sealed: asyncio.Future[Sealed] | None = None
        self._is_sealing = False

    # Its life

    async def start(self) -> str:
        """Why nothing can be recorded; empty when all is well, or may become so. Cancelling it changes nothing."""
        self._submit(self._open)
        try:
            async with asyncio.timeout(START_S):
                await asyncio.shield(self._started)
        except TimeoutError:
            self._open_gap("the disk does not answer", 0)
        self._later("sync", SYNC_S, self._sync)
        return "" if self._resumes else self.problem

    async def close(self) -> Sealed:
        """The end of it. Cancelling it leaves the file to be mended at the next start."""
        for name in list(self._timers):
            self._cancel(name)
        self._sealed = self._loop.create_future()
        self._settle()
        try:
            async with asyncio.timeout(SEAL_S):
                return await asyncio.shield(self._sealed)
        except TimeoutError:
            return Sealed(problem="the disk did not take its end in time", has_failed=True)

    # What happens in the terminal

    def output(self, data: bytes) -> None:
        self._add(Kind.OUTPUT, data)

    def resize(self, cols: int, rows: int) -> None:
        self._size = (cols, rows)
        self._add(Kind.RESIZE, f"{cols}x{rows}".encode())

    def mark(self, text: str) -> None:
        """`text` is one printable line."""
        self._add(Kind.MARK, text.encode())

    def _add(self, kind: Kind, data: bytes) -> None:
        if self._gap is not None:
            self._gap.lost += len(data) if kind is Kind.OUTPUT else 0
            return
        if self._sealed is not None:
            return
        self._events.append(Event(time.monotonic() - self._begun, kind, data))
        self._put += len(data)
        if "flush" not in self._timers:
            self._later("flush", FLUSH_S, self._flush)
        elif self._put - self._encoded >= BATCH and not self._is_busy:
            self._encode()
            if self._put - self._written >= STORE or self._file.waiting >= STORE_ENCODED:
                self._write()
        if "sync" not in self._timers:
            self._later("sync", SYNC_S, self._sync)

    @property
    def is_behind(self) -> bool:
        waiting = self._put - self._written if self._gap is None else 0
        is_behind = waiting > (MOST // 2 if self._was_behind else MOST)
        if is_behind and not self._was_behind:
            self._later("slow", SLOW_S, self._be_slow)
        elif self._was_behind and not is_behind:
            self._cancel("slow")
        self._was_behind = is_behind
        return is_behind

    @property
    def problem(self) -> str:
        """Why nothing is recorded now; empty while all is."""
        return self._gap.problem if self._gap is not None else ""

    # Timers

    def _later(self, name: str, delay_s: float, call: Callable[[], object]) -> None:
        self._timers[name] = self._loop.call_later(delay_s, self._due, name, call)

    def _due(self, name: str, call: Callable[[], object]) -> None:
        del self._timers[name]
        call()

    def _cancel(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _flush(self) -> None:
        if self._is_busy:
            self._later("flush", FLUSH_S, self._flush)
        elif self._put > self._written:
            self._write()

    def _sync(self) -> None:
        if self._is_busy:
            self._later("sync", FLUSH_S, self._sync)
        else:
            self._write(to_disk=True)

    # Only while no job is under way

    def _encode(self) -> None:
        events = _taken(self._events)
        self._unsaved += _size(events)
        try:
            self._file.encode(events)
        except Exception as error:
            self._open_gap(_say(error), 0)
        else:
            self._encoded += sum(len(event.data) for event in events)

    def _write(self, *, to_disk: bool = False) -> None:
        self._encode()
        if self._gap is None:
            lost, self._unsaved = self._unsaved, 0
            self._submit(partial(self._store, self._encoded, lost, to_disk=to_disk))

    def _be_slow(self) -> None:
        self._listener.slow()
        if self._resumes:
            self._later("slow", TOO_SLOW_S - SLOW_S, lambda: self._open_gap("the disk is too slow", 0))

    # Gaps

    def _open_gap(self, problem: str, lost: int) -> None:
        if self._gap is not None or self._sealed is not None:
            return
        for name in ("slow", "flush", "sync"):
            self._cancel(name)
        self._gap = _Gap(problem, lost + self._unsaved + _size(self._events))
        self._unsaved = 0
        self._events.clear()
        self._listener.failed(problem)
        if self._resumes:
            self._later("retry", RETRY_S, self._retry)

    def _retry(self) -> None:
        self._later("retry", RETRY_S, self._retry)
        if not self._is_busy:
            self._submit(self._resume)

    def _close_gap(self) -> None:
        if self._gap is None or self._sealed is not None:
            return
        self._cancel("retry")
        gap, self._gap = str(self._gap), None
        self._put = self._encoded = self._written = 0
        self._gaps.append(gap)
        self._listener.resumed(gap)
        self.resize(*self._size)

    # Jobs, each in a writer's thread

    def _submit(self, job: Callable[[], object]) -> None:
        self._is_busy = True
        self._writers.submit(job)

    def _call(self, tell: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: a disk answers after the broker has stopped
            self._loop.call_soon_threadsafe(tell, *arguments)

    def _free(self) -> None:
        self._is_busy = False
        if self._sealed is not None:
            self._call(self._settle)

    def _open(self) -> None:
        try:
            self._file.open()
        except Exception as error:
            self._call(self._fail, _say(error), 0)
        else:
            self._free()
        self._call(self._start)

    def _store(self, upto: int, lost: int, *, to_disk: bool) -> None:
        try:
            self._file.write(to_disk=to_disk)
        except Exception as error:
            self._call(self._fail, _say(error), lost)
        else:
            self._written = upto
            self._free()
            if self._was_behind or self._put - upto >= STORE:
                self._call(self._go_on)

    def _resume(self) -> None:
        try:
            self._file.resume()
        except Exception as error:
            log.debug("recording not resumed", problem=_say(error))
        else:
            self._call(self._close_gap)
        self._free()

    def _seal(self) -> None:
        if not (problem := self.problem):
            try:
                self._file.write(_taken(self._events), to_disk=False)
                sealed = replace(self._file.close(), problem="; ".join(self._gaps))
            except Exception as error:
                problem = _say(error)
        if problem:
            sealed = self._file.give_up("; ".join((*self._gaps, problem)))
        self._call(self._be_sealed, sealed)

    # What came of them, on the loop

    def _start(self) -> None:
        if not self._started.done():
            self._started.set_result(None)

    def _fail(self, problem: str, lost: int) -> None:
        if self._sealed is None:
            self._open_gap(problem, lost)
        elif self._gap is None:  # too late to tell anybody, but not for the seal
            self._gap = _Gap(problem, lost)
        self._free()

    def _go_on(self) -> None:
        if self._put > self._written and self._gap is None and not self._is_busy:
            self._write()
        if not self.is_behind:
            self._listener.caught_up()

    def _settle(self) -> None:
        if not self._is_busy and not self._is_sealing:
            self._is_sealing = True
            self._submit(self._seal)

    def _be_sealed(self, sealed: Sealed) -> None:
        assert self._sealed is not None
        if not self._sealed.done():
            self._sealed.set_result(sealed)


def _taken(events: deque[Event]) -> list[Event]:
    taken = list(events)
    events.clear()
    return taken


def _size(events: Iterable[Event]) -> int:
    return sum(len(event.data) for event in events if event.kind is Kind.OUTPUT)


def _say(error: Exception) -> str:
    """For people: what is wrong with the disk."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    log.error("recording failed", exc_info=error)
    return "the broker failed; the log says why"
