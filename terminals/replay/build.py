"""Makes the index of a recording by playing it on a screen model. Knows no Django."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from terminals.recording.format import Damaged, Frame, parse_header, parse_line, read_frames
from terminals.replay.buffer import Row
from terminals.replay.index import ENDING, Facts, KeyFrame, Writer
from terminals.replay.screen import Screen
from terminals.replay.shown import Shown
from terminals.replay.snapshot import snapshot

KEY_SIZE = 320 * 1024
"""Bytes of the recording after which a key frame is due, at the end of the recording's frame: about 500 KiB then..."""
KEY_S = 60
"""... or seconds, where something happens."""
MAX_LISTED = 2000
"""Marks, sizes and idle spans, of each: more are left out of the bar, not of what is played."""
IDLE_S = 5.0
PROCESSOR_S, PROCESSOR_S_PER_MIB = 60, 5
"""What a recording may take to be indexed. Ordinary ones need a tenth; one that is made to be slow is not played."""

Lines = list[tuple[float, str]]
"""Text that was shown, with the seconds when it was."""


class TooSlow(Exception):
    """The recording would take too long."""


def budget_s(stored_size: int) -> float:
    """Seconds of a processor for a recording of so many bytes, which a quarter of its text is taken to be."""
    return PROCESSOR_S + PROCESSOR_S_PER_MIB * stored_size / 2**18


def build(cast: Path, keep: Callable[[Lines], object] | None = None) -> tuple[Facts, Lines]:
    """Make the index beside the recording (0600), in one step. Answers its facts, and the text with times.

    `keep` is given the text before the index stands there. OSError when the recording cannot be read or the index
    not be written.
    """
    with cast.open("rb") as stored, _replacing(cast) as file:
        builder = Builder(Writer(file), time.process_time() + budget_s(os.fstat(stored.fileno()).st_size))
        builder.play(read_frames(stored))
        lines = builder.finish()
        if keep is not None:
            keep(lines)
    return builder.facts, lines


def write_problem(cast: Path, problem: str) -> None:
    """An index that only says why the recording cannot be played."""
    with _replacing(cast) as file:
        writer = Writer(file)
        writer.finish(Facts(text=writer.add(""), problem=problem))


@contextmanager
def _replacing(cast: Path) -> Iterator[BinaryIO]:
    """The index, in place of the one that is there once it is whole."""
    draft, index = (cast.with_name(cast.name.removesuffix(".cast.zst") + ending) for ending in (".index.draft", ENDING))
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
    draft.replace(index)


class Builder:
    def __init__(self, writer: Writer, deadline: float) -> None:
        self.facts = Facts()
        self._writer = writer
        self._deadline = deadline
        self._shown = Shown()
        self._screen: Screen | None = None
        self._idle: list[tuple[float, float, float]] = []
        self._time = 0.0
        self._size = 0
        """Bytes of the recording since the last key frame."""
        self._snapshot_size = 0

    def play(self, frames: Iterable[Frame]) -> None:
        try:
            for frame in frames:
                self._take(frame)
        except Damaged as damage:
            self.facts.marks.append((self._time, f"the recording is {damage}; what follows cannot be read"))
        except TooSlow:
            self.facts.problem = "it is made so that it takes very long to draw; download it to look at it"
        except ValueError:
            self.facts.problem = "it is not a recording of a terminal"

    def finish(self) -> Lines:
        facts = self.facts
        if self._screen is None:
            facts.problem = facts.problem or "there is nothing in it"
        else:
            self._shown.take(self._screen.buffer.rows)
            if self._screen.is_alternate:
                self._shown.take(self._screen.main.rows)
        lines = self._shown.lines()
        facts.duration_s = self._time
        facts.idle = sorted((start, end) for _, start, end in self._idle)
        facts.cut_s = self._shown.cut_s
        facts.text = self._writer.add("".join(f"{at:.3f} {text}\n" for at, text in lines))
        self._writer.finish(facts)
        return lines

    def _take(self, frame: Frame) -> None:
        lines = frame.lines
        if self._screen is None:
            if not lines:
                return
            fields = parse_header(lines.pop(0))
            self._begin(fields.get("width"), fields.get("height"))
            self._add_key(0)
        elif self._is_key_due():
            self._add_key(frame.offset)
        self._size += len(frame.text)
        for line in lines:
            self._event(*parse_line(line))

    def _begin(self, cols: object, rows: object) -> None:
        if not (isinstance(cols, int) and isinstance(rows, int)):
            raise ValueError("no size")
        self._screen = Screen(cols, rows, left=self._left, cleared=self._shown.take)
        self.facts.cols, self.facts.rows = self._screen.cols, self._screen.rows

    def _left(self, row: Row) -> None:
        self._shown.take((row,))

    def _event(self, at: float, kind: str, text: str) -> None:
        at = max(at, self._time)  # a clock that jumps does not turn back what is played
        self._note_idle(at)
        self._time = at
        assert self._screen is not None
        match kind:
            case "o":
                self._shown.look(self._screen.buffer.rows, at)
                self._screen.feed(text, at)
                if time.process_time() > self._deadline:
                    raise TooSlow
            case "r":
                self._resize(text)
            case "m" if len(self.facts.marks) < MAX_LISTED:
                self.facts.marks.append((at, text[:200]))

    def _resize(self, text: str) -> None:
        assert self._screen is not None
        if (size := parse_size(text)) is None:
            return
        self._shown.take(self._screen.buffer.rows)
        self._screen.resize(*size)
        if len(self.facts.sizes) < MAX_LISTED:
            self.facts.sizes.append((self._time, self._screen.cols, self._screen.rows))

    def _note_idle(self, at: float) -> None:
        if (span := at - self._time) >= IDLE_S:
            push = heapq.heappush if len(self._idle) < MAX_LISTED else heapq.heappushpop
            push(self._idle, (span, self._time, at))

    def _is_key_due(self) -> bool:
        """Seldom where snapshots are large: all of them together stay smaller than the recording."""
        if self._size < self._snapshot_size:
            return False
        return self._size >= KEY_SIZE or self._time - self.facts.keys[-1].time >= KEY_S

    def _add_key(self, offset: int) -> None:
        assert self._screen is not None
        text = snapshot(self._screen)
        place = self._writer.add(text)
        self.facts.keys.append(KeyFrame(self._time, offset, self._screen.cols, self._screen.rows, place))
        self._size, self._snapshot_size = 0, len(text)


def parse_size(text: str) -> tuple[int, int] | None:
    """`COLSxROWS`; None for anything else."""
    cols, _, rows = text.partition("x")
    if cols.isascii() and cols.isdigit() and rows.isascii() and rows.isdigit() and len(text) < 20:
        return int(cols), int(rows)
    return None
