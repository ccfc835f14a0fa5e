"""Bytes that have gone through sessions, for pages and REST: of live ones as of now."""

from __future__ import annotations

from terminals import live
from terminals.models import Session
from terminals.ssh import held


def traffic(session: Session) -> tuple[int, int]:
    """Bytes from the person, and to them. What this process does not hold is as it was written down."""
    if terminal := live.find(session.pk):
        return terminal.input_offset, terminal.history.head
    if thing := held.find(session.pk):
        return thing.bytes_in, thing.bytes_out
    return session.bytes_in, session.bytes_out
