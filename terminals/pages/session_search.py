"""What was found in recordings: lines of those that one may play, each with a link to its moment."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from django.db.models import QuerySet

from terminals.models import Session
from terminals.pages.guards import PersonRequest
from terminals.recording.store import root
from terminals.replay.search import Hit, query_words, search
from terminals.second_factor import proof_of_login, required_among
from terminals.session_log import note_search
from tunnels.audit import Actor
from tunnels.errors import Conflict

MAX_HITS = 100


@dataclass(frozen=True, slots=True)
class Line:
    time_s: float
    pieces: list[tuple[str, bool]]
    """Its text, and whether it is what was searched for."""

    @property
    def clock(self) -> str:
        minutes, seconds = divmod(int(self.time_s), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@dataclass(frozen=True, slots=True)
class Found:
    session: Session
    lines: list[Line] = field(default_factory=list)


def open_to(request: PersonRequest, playable: QuerySet[Session]) -> tuple[QuerySet[Session], bool]:
    """Without those on hosts that ask the person for a second factor first; and whether there are such."""
    if proof_of_login(request).holds:
        return playable, False
    hosts = set(playable.order_by().values_list("host", flat=True).distinct())
    shut = required_among(request.user.pk, hosts)
    return (playable.exclude(host__in=shut), True) if shut else (playable, False)


def find_in_recordings(words: str, playable: QuerySet[Session], *, is_all: bool, actor: Actor) -> list[Found]:
    """In which of `playable` (`is_all`: these are all there are) the words were on the screen.

    It is on record, as playing them is. Conflict when it cannot be told now.
    """
    ids = None if is_all else playable.values_list("pk", flat=True).iterator()
    try:
        hits = search(root(), words, ids, MAX_HITS)
    except sqlite3.Error as error:
        raise Conflict("the recordings cannot be searched now; an admin can have the search made anew") from error
    found = _grouped(hits, playable, query_words(words))
    if found:
        note_search(actor=actor, words=words, sessions=[one.session.pk for one in found])
    return found


def _grouped(hits: Iterable[Hit], playable: QuerySet[Session], words: list[str]) -> list[Found]:
    groups = [(pk, list(group)) for pk, group in groupby(hits, key=lambda hit: hit.session_id)]
    rows = playable.in_bulk([pk for pk, _ in groups])
    pattern = re.compile("|".join(re.escape(word) for word in words) or "$^", re.IGNORECASE)
    return [
        Found(rows[pk], [Line(hit.time_s, _pieces(hit.line, pattern)) for hit in group])
        for pk, group in groups
        if pk in rows
    ]


def _pieces(text: str, pattern: re.Pattern[str]) -> list[tuple[str, bool]]:
    pieces, end = [], 0
    for match in pattern.finditer(text):
        pieces += [(text[end : match.start()], False), (match[0], True)]
        end = match.end()
    return [piece for piece in [*pieces, (text[end:], False)] if piece[0]]
