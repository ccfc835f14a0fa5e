"""The acts on recordings: begun with their session, failed, sealed with its end, pruned. Each is one row and its event.

`begin` and `seal` are parts of a session's acts, in their transactions.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from terminals.models import Recording, Session
from terminals.recording.digest import Sealed
from terminals.recording.store import files_of, path_of, root
from terminals.replay import search
from terminals.replay.indexer import enqueue
from tunnels import audit
from tunnels.audit import Actor, Event
from tunnels.spool import fact

MAX_PROBLEM = 200


def begin(session: Session) -> None:
    Recording.objects.create(session=session)


@fact
@transaction.atomic
def note_failure(*, session_id: UUID, problem: str) -> None:
    """A terminal that is live is not recorded any more, or for now."""
    recording = Recording.objects.select_related("session__person", "session__host").get(pk=session_id)
    if recording.state == Recording.State.RECORDING:
        _fail(recording, problem)
        recording.save(update_fields=["problem"])


def unsealed(session: Session) -> Recording | None:
    """The recording of a session, while its hash is not known."""
    return Recording.objects.filter(session=session, state=Recording.State.RECORDING).first()


def seal(recording: Recording, sealed: Sealed) -> None:
    """Nothing is added any more. The hash is for the event of the session's end."""
    if sealed.has_failed and not recording.problem:
        _fail(recording, sealed.problem)
    recording.state = Recording.State.FAILED if sealed.has_failed else Recording.State.SEALED
    recording.problem = sealed.problem[:MAX_PROBLEM]
    recording.sha256, recording.stored_sha256 = sealed.sha256, sealed.stored_sha256
    recording.size, recording.stored_size = sealed.size, sealed.stored_size
    recording.duration_s = sealed.duration_s
    recording.sealed_at = timezone.now()
    recording.save()
    transaction.on_commit(partial(enqueue, recording.session_id))


def _fail(recording: Recording, problem: str) -> None:
    recording.problem = problem[:MAX_PROBLEM]
    session = recording.session
    audit.record(
        Event.RECORDING_FAILED,
        actor=Actor(session.person.username, session.address),
        refused=True,
        host=session.host.name,
        login=session.login,
        session=str(session.id),
        reason=problem,
    )


def prune(*, before: datetime) -> int:
    """Remove the files of recordings sealed before that moment. Their hashes and events stay. How many it were.

    OSError when one cannot be removed; those before it are gone, and on record.
    """
    due = Recording.objects.filter(sealed_at__lt=before).exclude(state=Recording.State.PRUNED)
    pruned: list[UUID] = []
    try:
        for recording in due.select_related("session__host").order_by("sealed_at"):
            _prune(recording)
            pruned.append(recording.session_id)
    finally:
        if pruned:
            search.forget(root(), pruned)
    return len(pruned)


def _prune(recording: Recording) -> None:
    # First the files: of a crash in between, the next run finds a row without files and puts that on record.
    for file in files_of(path_of(recording.session_id, recording.session.started_at)):
        file.unlink(missing_ok=True)
    with transaction.atomic():
        recording.state, recording.pruned_at = Recording.State.PRUNED, timezone.now()
        recording.save(update_fields=["state", "pruned_at"])
        audit.record(
            Event.RECORDING_PRUNED,
            host=recording.session.host.name,
            login=recording.session.login,
            session=str(recording.session_id),
            owner=recording.session.person.username,
            sha256=recording.sha256,
            size=recording.size,
        )
