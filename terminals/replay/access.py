"""Who may see a recording: the one rule for the page, REST and search. Being an admin does not suffice."""

from __future__ import annotations

from uuid import UUID

from django.core import signing
from django.db import transaction
from django.db.models import QuerySet

from terminals.models import Person, Recording
from terminals.replay.files import cast_of
from terminals.second_factor import Proof, require_second_factor
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, NotAllowed, NotFound

VIEWING_S = 12 * 3600
"""So long the parts of a recording are given to who has opened it; then it is another viewing, audited anew."""
_SALT = "terminals.replay.viewing"


def viewable_by(person: Person) -> QuerySet[Recording]:
    """One's own; all of them for auditors."""
    rows = Recording.objects.select_related("session__person", "session__host")
    return rows if person.is_auditor else rows.filter(session__person=person)


def recording_for(person: Person, session_id: UUID, proof: Proof) -> Recording:
    """The recording, where it is the person's own or the person is an auditor, and there is something to be seen.

    NotFound for others' and unknown ones alike, and what was removed; Conflict while it is recorded;
    SecondFactorRequired where a rule asks for one.
    """
    recording = viewable_by(person).filter(pk=session_id).first()
    if recording is None:
        raise NotFound("there is no recording of such a session that you may see")
    require_second_factor(person, recording.session.host, proof)
    if recording.state == Recording.State.RECORDING:
        raise Conflict("it is still being recorded; come back when the session has ended")
    if recording.state == Recording.State.PRUNED:
        raise NotFound("this recording was kept for as long as was set, and is removed; its hash is in the audit log")
    if not cast_of(recording).exists():
        raise NotFound(f"there is no file of this recording{f': {recording.problem}' if recording.problem else ''}")
    return recording


@transaction.atomic
def note_viewing(recording: Recording, *, actor: Actor, way: str) -> str:
    """Put on record that it is looked at (`way`: played or downloaded). Answers what `check_viewing` wants to see."""
    record(
        Event.RECORDING_VIEWED,
        actor=actor,
        host=recording.session.host.name,
        login=recording.session.login,
        session=str(recording.session_id),
        owner=recording.session.person.username,
        way=way,
    )
    return signing.dumps([actor.person, str(recording.session_id)], salt=_SALT)


def check_viewing(viewing: str, recording: Recording, person: Person) -> None:
    """NotAllowed unless `note_viewing` was called for this person and recording a while ago."""
    try:
        noted = signing.loads(viewing, salt=_SALT, max_age=VIEWING_S)
    except signing.BadSignature:
        noted = None
    if noted != [person.username, str(recording.session_id)]:
        raise NotAllowed("this viewing is over; open the recording again")
