"""The files of a recording's replay: where its index is, what it says, and where the search over all of them is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from terminals.models import Recording
from terminals.recording.store import beside, path_of
from terminals.replay.index import ENDING, Facts, Unreadable, read_facts


def cast_of(recording: Recording) -> Path:
    return path_of(recording.session_id, recording.session.started_at)


def index_of(recording: Recording) -> Path:
    return beside(cast_of(recording), ENDING)


def facts_of(recording: Recording) -> Facts | None:
    """None while there is no index, or none that this version reads."""
    path = index_of(recording)
    try:
        status = path.stat()
        return _facts(path, status.st_mtime_ns, status.st_ino)
    except (OSError, Unreadable):
        return None


@lru_cache(16)
def _facts(path: Path, changed_ns: int, inode: int) -> Facts:
    """A viewer asks for segment after segment."""
    with path.open("rb") as file:
        return read_facts(file)
