"""What the rows of the sessions' page show of a session: of a live one, what its terminal knows."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from terminals import live
from terminals.models import Person, Session
from terminals.pages.open_terminals import terminal_url
from terminals.session_log import recording_words
from terminals.traffic import traffic

SET_S = 5
"""Off by more, the wall clock was set. Off by less, only a moment went by between the looks at the two clocks."""
_boot = time.time() - time.monotonic()
"""Kept, so that the same moment is the same text at each look."""


def live_facts(session: Session, *, viewer: Person, observable: Collection[UUID]) -> dict[str, Any]:
    terminal = live.find(session.pk)
    facts: dict[str, Any] = {
        **actions(session, viewer),
        "watch": session.pk in observable and session.person_id != viewer.pk,
        "recorded": recording_words(session),
    }
    facts["bytes_in"], facts["bytes_out"] = traffic(session)
    if terminal:
        here = list(dict.fromkeys(one.seat.label for one in list(terminal.viewers)))
        facts["here"] = here
        facts["last_input"] = _moment(terminal.last_input)
    return facts


def _moment(monotonic_s: float) -> datetime:
    """When that was, by the wall clock as it is now: it may have been set since, or the computer have slept."""
    global _boot
    if abs((boot := time.time() - time.monotonic()) - _boot) > SET_S:
        _boot = boot
    return datetime.fromtimestamp(round(_boot + monotonic_s), UTC)


def past_facts(session: Session, *, viewer: Person, is_auditor: bool) -> dict[str, Any]:
    """Owners and auditors play what was recorded; being admin opens no recording."""
    state = recording_words(session)
    plays = state in ("recorded", "failed") and (is_auditor or session.person_id == viewer.pk)
    return {"session": session, "recorded": state, "plays": plays}


def actions(session: Session, viewer: Person) -> dict[str, Any]:
    is_mine, is_live = session.person_id == viewer.pk, session.ended_at is None
    opens = is_mine and is_live and session.has_terminal
    return {
        "session": session,
        "open_url": terminal_url(session.host, session.login, session.pk) if opens else "",
        "may_end": is_live and may_end(session, viewer),
    }


def may_end(session: Session, person: Person) -> bool:
    """Owners end their own, admins any. Auditors and observers only look."""
    return session.person_id == person.pk or person.is_superuser
