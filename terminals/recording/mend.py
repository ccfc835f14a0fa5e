"""Reads a recording whose writer was lost, and makes it whole: cut off within a frame, it ends at its last line."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfileobj

from terminals.recording.digest import Digest
from terminals.recording.format import Damaged, Encoder, Event, Frame, FrameWriter, Kind, parse_line, read_frames
from terminals.recording.store import beside

ASIDE = ".damaged"
"""Ending of the file that keeps what could not be read."""


@dataclass(slots=True)
class Survey:
    """A recording as it was read, to its last whole line."""

    digest: Digest = field(default_factory=Digest)
    duration_s: float = 0
    torn: Frame | None = None
    """The last frame, where it is not whole."""
    damaged_at: int | None = None
    """Where something else begins in the file than a recorder writes."""

    def add(self, frame: Frame) -> None:
        self.digest.add_text(b"".join(frame.lines))
        self.digest.add_stored(frame.stored)
        self.duration_s = max(self.duration_s, _end(frame.lines))


def survey(path: Path, known: Survey | None = None) -> Survey:
    """Read it, changing nothing; `known` is what was known of it at the end of a frame. OSError when it cannot be."""
    found = known or Survey()
    with path.open("rb") as file:
        try:
            for frame in read_frames(file, found.digest.stored_size):
                if frame.is_whole:
                    found.add(frame)
                else:
                    found.torn = frame
        except Damaged as damage:
            found.damaged_at = damage.offset
    return found


def mend(path: Path, note: str = "", known: Survey | None = None) -> Survey:
    """Make a file whole again, with `note` as its last marker. What cannot be read is put aside, never thrown away.

    `known` as in `survey`.

    OSError when it cannot be read or written; then the file may still end within a frame.
    """
    found = survey(path, known)
    with path.open("r+b", buffering=0) as file:
        if found.damaged_at is not None:
            _put_aside(path, found.damaged_at)
            file.truncate(found.damaged_at)
        lines = found.torn.lines if found.torn else []
        end = max(found.duration_s, _end(lines))
        if note and (lines or found.digest.size):
            lines += Encoder().lines([Event(end, Kind.MARK, note.encode())])
        if found.torn:
            file.truncate(found.torn.offset)
        if lines:
            file.seek(0, os.SEEK_END)
            found.add(_write_frame(file.fileno(), lines))
        os.fsync(file.fileno())
    found.torn = None
    return found


def _write_frame(descriptor: int, lines: list[bytes]) -> Frame:
    writer, text = FrameWriter(), b"".join(lines)
    stored = writer.add(text) + writer.finish()
    write_all(descriptor, stored)
    return Frame(0, stored, text, is_whole=True)


def write_all(descriptor: int, data: bytes) -> None:
    """OSError when not all of it could be written; then a part of it may have been."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _put_aside(path: Path, offset: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with path.open("rb") as file, os.fdopen(os.open(beside(path, ASIDE), flags, 0o600), "ab") as aside:
        file.seek(offset)
        copyfileobj(file, aside)
        aside.flush()
        os.fsync(aside.fileno())


def _end(lines: list[bytes]) -> float:
    """Time of the last event among them; 0 where there is none."""
    for line in reversed(lines):
        try:
            return parse_line(line)[0]
        except ValueError:  # the header
            continue
    return 0
