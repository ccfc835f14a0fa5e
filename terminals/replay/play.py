"""What a player asks for, piece by piece: one segment, from a key frame to the next, and hits in one recording."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any

from terminals.models import Recording
from terminals.recording.format import Damaged
from terminals.recording.store import frames
from terminals.replay.files import cast_of, index_of
from terminals.replay.index import Facts, read_text
from tunnels.errors import NotFound

MAX_HITS = 200
MAX_LINE = 300


def number_at(facts: Facts, time: float) -> int:
    """The segment in which that moment is, in seconds; the first one before all of them."""
    return max(0, bisect_right(facts.keys, time, key=lambda key: key.time) - 1)


def segment(recording: Recording, facts: Facts, number: int) -> bytes:
    """JSON: the screen at its beginning and the events that follow, `[time, kind, text]` each."""
    if not 0 <= number < len(facts.keys):
        raise NotFound("there is no such segment")
    key = facts.keys[number]
    end = facts.keys[number + 1].offset if number + 1 < len(facts.keys) else None
    with index_of(recording).open("rb") as file:
        snapshot = read_text(file, key.snapshot)
    head = {"n": number, "t": key.time, "cols": key.cols, "rows": key.rows, "snapshot": snapshot}
    events = b",".join(_lines(recording, key.offset, end))
    return json.dumps(head).encode()[:-1] + b', "events": [' + events + b"]}"


def _lines(recording: Recording, start: int, end: int | None) -> Iterator[bytes]:
    """The lines are JSON as they stand."""
    try:
        for frame in frames(cast_of(recording), start):
            if end is not None and frame.offset >= end:
                return
            yield from (line.strip() for line in frame.lines if line.startswith(b"["))
    except Damaged:
        return


def find(recording: Recording, facts: Facts, query: str) -> list[dict[str, Any]]:
    """The lines in which `query` stands as it is, in upper or lower case: `{t, line}` in order of time."""
    if not (wanted := query.strip()):
        return []
    with index_of(recording).open("rb") as file:
        text = read_text(file, facts.text)
    return [{"t": float(time), "line": line[:MAX_LINE]} for time, line in islice(_lines_with(text, wanted), MAX_HITS)]


def _lines_with(text: str, wanted: str) -> Iterator[tuple[str, str]]:
    """Each line is its time, a blank, and what was shown."""
    pattern = re.compile(re.escape(wanted), re.IGNORECASE)
    at = 0
    while match := pattern.search(text, at):
        start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
        time, _, line = text[start:end].partition(" ")
        if match.start() > start + len(time):
            yield time, line
            at = end
        else:
            at = match.start() + 1  # in the time
