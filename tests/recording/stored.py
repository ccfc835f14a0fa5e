"""Recordings as sessions leave them: rows and files."""

from __future__ import annotations

from pathlib import Path

from terminals.models import Session
from terminals.recording import acts
from terminals.recording.castfile import CastFile
from terminals.recording.format import Event, Kind, header, parse_line
from terminals.recording.store import open_cast, path_of
from terminals.sessions import end_session
from tests.core.rows import session_row


def open_recording(person, host, text: str = "hello", **facts) -> tuple[Session, CastFile]:
    """A live session, and its recording with `text` in it."""
    row = session_row(person, host, **facts)
    acts.begin(row)
    file = CastFile(
        path_of(row.pk, row.started_at), header(cols=80, rows=24, timestamp=1, title="root@web1", term="xterm")
    )
    file.open()
    file.write([Event(1, Kind.OUTPUT, text.encode())], to_disk=True)
    return row, file


def sealed_recording(person, host, text: str = "hello", **facts) -> tuple[Session, Path]:
    """One that has ended as it should."""
    row, file = open_recording(person, host, text, **facts)
    end_session(session_id=row.pk, reason="the program ended", recording=file.close())
    return row, path_of(row.pk, row.started_at)


def texts(path: Path, kind: str = "o") -> str:
    """What it shows, or its marks."""
    events = [parse_line(line) for line in list(open_cast(path))[1:]]
    return "".join(text for _, one, text in events if one == kind)
