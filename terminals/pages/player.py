"""The player on a session's page: whether there is one, and what stands there instead. Its script asks REST."""

from __future__ import annotations

from terminals.models import Recording, Session
from terminals.pages.guards import PersonRequest
from terminals.replay.access import viewable_by


def recording_of(request: PersonRequest, session: Session) -> dict[str, object]:
    """`recording`: the one of the session, for whom may see it; `plays`: whether there is something to play."""
    recording = viewable_by(request.user).filter(pk=session.pk).first()
    plays = recording is not None and recording.state in (Recording.State.SEALED, Recording.State.FAILED)
    return {"recording": recording, "plays": plays}
