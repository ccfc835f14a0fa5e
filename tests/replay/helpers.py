"""Recordings as the broker would have made them, without a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from terminals.models import Person, Recording, Session
from terminals.recording import acts
from terminals.recording.castfile import CastFile
from terminals.recording.format import Event, Kind, header
from terminals.recording.store import path_of, root
from terminals.replay.worker import index
from terminals.sessions import end_session
from tests.people.helpers import ADDRESS
from tunnels.models import Host

What = tuple[float, str, str]
"""Time in seconds, kind (o, r, m), text."""
HELLO: list[What] = [(0.5, "o", "$ make greeting\r\n"), (1.0, "o", "hello there\r\n$ "), (3.0, "m", "bob joined")]


def begin(person: Person, host: Host) -> Session:
    """A session that is being recorded."""
    session = Session.objects.create(person=person, host=host, login="root", node="n1", address=ADDRESS)
    acts.begin(session)
    return session


def record(
    person: Person,
    host: Host,
    events: Iterable[What] = HELLO,
    *,
    cols: int = 80,
    rows: int = 24,
    indexed: bool = True,
    frame_size: int | None = None,
) -> Session:
    """A session that is over, and its recording. `frame_size`: frames end after so many characters of events."""
    session = begin(person, host)
    file = CastFile(
        path_of(session.pk, session.started_at),
        header(cols=cols, rows=rows, timestamp=int(session.started_at.timestamp()), title="", term="xterm"),
    )
    file.open()
    size = 0
    for time, kind, text in events:
        size += len(text)
        ends = frame_size is not None and size >= frame_size
        file.write([Event(time, Kind(kind), text.encode())], to_disk=ends)
        size = 0 if ends else size
    recording = Recording.objects.get(pk=session.pk)
    with transaction.atomic():
        acts.seal(recording, file.close())
    end_session(session_id=session.pk, reason="the shell ended")
    session.refresh_from_db()
    if indexed:
        index(path_of(session.pk, session.started_at), root(), session.pk)
    return session
