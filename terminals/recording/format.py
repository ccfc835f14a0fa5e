"""A recording's text (asciicast v2: a header line, then one JSON array a line) and its zstd frames. Pure.

Only what the terminal showed, its sizes and markers; never what was typed. A file is a row of zstd frames, each of
which begins and ends between two lines: a reader can begin at any of them, and `zstd -dc` gives the whole text.
"""

from __future__ import annotations

import codecs
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

import zstandard
from pydantic_core import to_json  # three times as fast as `json`, for the same text

COALESCE_S = 0.01
"""Output within this time becomes one line, up to..."""
MAX_LINE = 64 * 1024
"""... so many bytes."""
CHUNK = 256 * 1024
"""Bytes of the file that are read at once."""
SPARE = 4
_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(1, window_log=15, hash_log=13, write_checksum=True)
"""180 KB of memory for each frame that is being written, where level 1 alone takes 550 KB for a few percent less."""
_spare: deque[zstandard.ZstdCompressor] = deque(maxlen=SPARE)
"""Of frames that have ended, for the next ones: a flood has dozens of them a second. Any thread takes one."""


class Kind(StrEnum):
    OUTPUT = "o"
    RESIZE = "r"
    """Text `COLSxROWS`."""
    MARK = "m"


@dataclass(frozen=True, slots=True)
class Event:
    time: float
    """Seconds since the recording began."""
    kind: Kind
    data: bytes
    """Of output: as the host sent it, so perhaps half a character; else UTF-8."""


def header(*, cols: int, rows: int, timestamp: int, title: str, term: str) -> bytes:
    """The first line. `timestamp`: Unix time of the beginning, in seconds."""
    fields = {
        "version": 2,
        "width": cols,
        "height": rows,
        "timestamp": timestamp,
        "title": title,
        "env": {"TERM": term},
    }
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


class Encoder:
    """Turns the events of one recording, in order, into lines. A character that is cut into two outputs stays whole."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def lines(self, events: Iterable[Event]) -> Iterator[bytes]:
        held: list[bytes] = []
        begun, size = 0.0, 0
        for event in events:
            fits = event.time - begun <= COALESCE_S and size + len(event.data) <= MAX_LINE
            if held and not (event.kind is Kind.OUTPUT and fits):
                yield from self._output(begun, held)
                held, size = [], 0
            if event.kind is not Kind.OUTPUT:
                yield _line(event.time, event.kind, event.data.decode())
                continue
            if not held:
                begun = event.time
            held.append(event.data)
            size += len(event.data)
        if held:
            yield from self._output(begun, held)

    def rest(self, time: float) -> Iterator[bytes]:
        """What is left when nothing comes any more: half a character."""
        yield from self._output(time, [], is_last=True)

    def _output(self, time: float, parts: list[bytes], *, is_last: bool = False) -> Iterator[bytes]:
        if text := self._decoder.decode(b"".join(parts), is_last):
            yield _line(time, Kind.OUTPUT, text)


def _line(time: float, kind: Kind, text: str) -> bytes:
    return b'[%.6f, "%s", %s]\n' % (time, kind.encode(), to_json(text))


def parse_header(line: bytes) -> dict[str, Any]:
    """The first line's fields. ValueError when it is not one of asciicast v2."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("version") != 2:
        raise ValueError("not the header of an asciicast v2")
    return fields


def parse_line(line: bytes) -> tuple[float, str, str]:
    """Time in seconds, kind (see `Kind`; others may be there) and text of a line after the header. ValueError else."""
    match json.loads(line):
        case [int() | float() as time, str() as kind, str() as text]:
            return float(time), kind, text
    raise ValueError("not an event of an asciicast v2")


# Frames


class FrameWriter:
    """One frame on its way: lines go in, bytes for the file come out."""

    def __init__(self) -> None:
        try:
            self._compressor = _spare.pop()
        except IndexError:
            self._compressor = zstandard.ZstdCompressor(compression_params=_PARAMETERS)
        self._frame = self._compressor.compressobj()
        self.size = 0
        """Bytes of text in it so far."""

    def add(self, text: bytes) -> bytes:
        """Whole lines. Bytes that are not given out yet come with the next call."""
        self.size += len(text)
        return self._frame.compress(text)

    def flush(self) -> bytes:
        """After this, a reader sees all that was added."""
        return self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        """The frame's end, and this object's."""
        rest = self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)
        _spare.append(self._compressor)
        return rest


class Damaged(ValueError):
    """What stands at `offset` of a file is not what a recorder wrote, nor the beginning of it."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"damaged at byte {offset}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Frame:
    offset: int
    """Where it begins in the file; `read_frames` can begin there."""
    stored: bytes
    """As it is in the file."""
    text: bytes
    is_whole: bool
    """False for the last one of a file that is still written, or that a crash left: its last line may be torn."""

    @property
    def lines(self) -> list[bytes]:
        """Its whole lines, each with its newline."""
        *whole, _torn = self.text.split(b"\n")
        return [line + b"\n" for line in whole]


def read_frames(file: BinaryIO, offset: int = 0) -> Iterator[Frame]:
    """The frames from `offset` on, where one begins. Damaged after the last good one."""
    file.seek(offset)
    rest = b""
    while rest := rest or file.read(CHUNK):
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        text, stored = [], []
        try:
            while rest and not decompressor.eof:
                text.append(decompressor.decompress(rest))
                stored.append(rest)
                rest = decompressor.unused_data if decompressor.eof else file.read(CHUNK)
        except zstandard.ZstdError as error:
            raise Damaged(offset) from error
        whole = b"".join(stored)
        if decompressor.eof:
            whole = whole[: len(whole) - len(rest)]
        yield Frame(offset, whole, b"".join(text), decompressor.eof)
        offset += len(whole)
