"""One recording's file as it is written: lines into frames, frames onto the disk, and what it is known by.

Used by one thread at a time. Only `encode` is for the event loop as well: it takes the processor alone, which threads
of one interpreter cannot share. Every other method waits for the disk; OSError when it does not take what it is given.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from terminals.recording.digest import Digest, Sealed
from terminals.recording.format import Encoder, Event, FrameWriter
from terminals.recording.mend import Survey, mend, survey, write_all
from terminals.recording.store import create

FRAME_SIZE = 256 * 1024
"""Bytes of text after which a frame ends."""


class CastFile:
    def __init__(self, path: Path, header: bytes) -> None:
        self._path = path
        self._header = header
        self._file: BinaryIO | None = None
        self._place: tuple[int, int] | None = None
        """Which file it is, wherever it may be moved to."""
        self._digest = Digest()
        self._encoder = Encoder()
        self._frame: FrameWriter | None = None
        self._waiting: list[bytes] = []
        """Encoded, and not in the file yet."""
        self._time = 0.0
        self._known = Survey()
        """As it was on the disk: what comes later has to be read again after an error."""

    def open(self) -> None:
        """Make the file, with its header in it."""
        self._file = create(self._path)
        self._place = _place(os.fstat(self._descriptor))
        self._write_header()

    def encode(self, events: Sequence[Event]) -> None:
        """These come next, once `write` is called."""
        if events:
            self._time = events[-1].time
            self._put(self._encoder.lines(events))

    @property
    def waiting(self) -> int:
        """Bytes that are encoded, and that `write` will add to the file."""
        return sum(map(len, self._waiting))

    def write(self, events: Sequence[Event] = (), *, to_disk: bool = False) -> None:
        """Add what was encoded, and these; a reader sees them. `to_disk`: they and all before them outlive this
        machine."""
        self._check_place()
        self.encode(events)
        if to_disk:
            self._end_frame()
        self._store()
        if to_disk:
            os.fdatasync(self._descriptor)
            self._known = Survey(self._digest.copy(), self._time)

    def close(self) -> Sealed:
        """Nothing comes any more."""
        self._check_place()
        self._put(self._encoder.rest(self._time))
        self._end_frame()
        self._store()
        os.fsync(self._descriptor)
        self.abandon()
        return self._digest.seal(duration_s=self._time)

    # After an error

    def resume(self) -> None:
        """Go on, with what the file has of it; with a new file where it has gone."""
        self.abandon()
        self._encoder, self._frame = Encoder(), None
        if not self._path.exists():
            self._digest, self._known = Digest(), Survey()
            self.open()
            return
        self._check_place()
        self._known = mend(self._path, known=self._copy_of_known())
        self._digest = self._known.digest.copy()
        self._file = self._path.open("r+b", buffering=0)
        self._file.seek(0, os.SEEK_END)
        if not self._digest.size:
            self._write_header()

    def give_up(self, problem: str) -> Sealed:
        """What the file holds, made whole where that is possible, and why it ends there."""
        self.abandon()
        try:
            self._check_place()
            found = self._mended(f"recording failed: {problem}")
        except OSError:
            return Sealed(problem=problem, has_failed=True)
        return found.digest.seal(duration_s=found.duration_s, problem=problem, has_failed=True)

    def _mended(self, note: str) -> Survey:
        try:
            return mend(self._path, note, self._copy_of_known())
        except OSError:
            found = survey(self._path, self._copy_of_known())
            if found.torn:
                found.add(found.torn)
            return found

    def _copy_of_known(self) -> Survey:
        return Survey(self._known.digest.copy(), self._known.duration_s)

    def abandon(self) -> None:
        """Let go of the file, as a crash would."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        self._waiting.clear()

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise OSError(errno.EBADF, "the file is not open")
        return self._file.fileno()

    def _check_place(self) -> None:
        """A file that was removed or moved takes what is written, and nobody ever finds it."""
        if _place(self._path.stat()) != self._place:
            raise OSError(errno.ENOENT, "another file has taken its place")

    def _write_header(self) -> None:
        self._put([self._header])
        self._store()

    def _put(self, lines: Iterable[bytes]) -> None:
        """Lines into frames, of which a reader sees them all."""
        for line in lines:
            self._digest.add_text(line)
            if self._frame is None:
                self._frame = FrameWriter()
            self._waiting.append(self._frame.add(line))
            if self._frame.size >= FRAME_SIZE:
                self._end_frame()
        if self._frame is not None:
            self._waiting.append(self._frame.flush())

    def _end_frame(self) -> None:
        if self._frame is not None:
            self._waiting.append(self._frame.finish())
            self._frame = None

    def _store(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        write_all(self._descriptor, data)
        self._digest.add_stored(data)


def _place(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino
