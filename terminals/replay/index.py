"""The index of a recording: places from which it can be played, what is in it, and the text that it showed.

A file of zstd frames next to the recording: a snapshot of the screen for each key frame, the text, the facts. Last
comes a skippable frame that says where the facts are. Derived from the recording: to lose it costs the time to make it
anew. Pure but for the files that it is given.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import zstandard

VERSION = 1
ENDING = ".index.zst"
MAX_FACTS = 64 * 1024 * 1024
"""Bytes of a frame when read: a file of ours has less by far."""
_TRAILER = struct.Struct("<IIQ")
_SKIPPABLE = 0x184D2A5B


class Unreadable(ValueError):
    """Not an index, of another version, or damaged: make it anew."""


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """The screen at a moment between two frames of the recording."""

    time: float
    """Seconds; the next event comes then or later."""
    offset: int
    """Of the frame of the recording that follows."""
    cols: int
    rows: int
    snapshot: int
    """Where the snapshot is in the index."""


@dataclass(slots=True)
class Facts:
    duration_s: float = 0
    cols: int = 80
    rows: int = 24
    """The size at the beginning."""
    keys: list[KeyFrame] = field(default_factory=list)
    """At least one, at the beginning, unless there is a `problem`."""
    sizes: list[tuple[float, int, int]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    idle: list[tuple[float, float]] = field(default_factory=list)
    """From and to, where nothing happened for long."""
    text: int = 0
    """Where the text is in the index."""
    cut_s: float | None = None
    """What was shown after this is not found: it was too much."""
    problem: str = ""
    """Why it cannot be played, for people."""


class Writer:
    """Snapshots first, then `finish`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=3)

    def add(self, text: str) -> int:
        """Where it is."""
        offset = self._file.tell()
        self._file.write(self._compressor.compress(text.encode("utf-8", "replace")))
        return offset

    def finish(self, facts: Facts) -> None:
        offset = self.add(json.dumps({"version": VERSION, **asdict(facts)}))
        self._file.write(_TRAILER.pack(_SKIPPABLE, 8, offset))


def read_facts(file: BinaryIO) -> Facts:
    try:
        file.seek(-_TRAILER.size, 2)
        magic, size, offset = _TRAILER.unpack(file.read(_TRAILER.size))
        if (magic, size) != (_SKIPPABLE, 8):
            raise Unreadable("no index")
        return _facts(json.loads(read_text(file, offset)))
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        raise Unreadable(str(error)) from error


def _facts(fields: dict[str, Any]) -> Facts:
    if fields.pop("version") != VERSION:
        raise Unreadable("of another version")
    facts = Facts(**fields)
    facts.keys = [KeyFrame(**key) for key in fields["keys"]]
    return facts


def read_text(file: BinaryIO, offset: int) -> str:
    """What `Writer.add` wrote there."""
    try:
        file.seek(offset)
        data = zstandard.ZstdDecompressor().stream_reader(file).read(MAX_FACTS)
        return data.decode()
    except (OSError, ValueError, OverflowError, zstandard.ZstdError) as error:
        raise Unreadable(str(error)) from error
