"""What a lost broker left of a recording, made whole and sealed. Runs at start, before the doors open."""

from __future__ import annotations

from terminals.models import Session
from terminals.recording.digest import Sealed
from terminals.recording.mend import ASIDE, mend
from terminals.recording.store import path_of

NOTE = "the broker was lost here; the last seconds before it may be missing"


def seal_leftover(session: Session) -> Sealed:
    """Its file ends with a marker that says so."""
    try:
        found = mend(path_of(session.pk, session.started_at), NOTE)
    except FileNotFoundError:
        return Sealed(problem="the broker was lost, and there is no file", has_failed=True)
    except OSError as error:
        return Sealed(problem=f"the broker was lost, and the file cannot be mended: {error.strerror}", has_failed=True)
    problem = "the broker was lost: the last seconds may be missing"
    if found.damaged_at is not None:
        problem += f", and what could not be read is put aside as {ASIDE}"
    return found.digest.seal(duration_s=found.duration_s, problem=problem)
