"""REST for recordings: the file itself, and what the player needs of it. For their owners and for auditors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Field, Query, Router, Schema

from terminals.api.auth import caller_of, callers
from terminals.api_tokens import Scope
from terminals.models import Recording
from terminals.recording.format import Frame
from terminals.recording.store import frames
from terminals.replay.access import check_viewing, note_viewing, recording_for
from terminals.replay.files import cast_of, facts_of
from terminals.replay.index import Facts
from terminals.replay.indexer import enqueue
from terminals.replay.play import MAX_HITS, find, number_at, segment
from tunnels.errors import Conflict

router = Router(tags=["recordings"], auth=callers(Scope.SESSIONS))
CONTENT_TYPE = "application/x-asciicast"


class ReplayIn(Schema):
    at: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="seconds; the answer then has the segment of that moment with it"
    )


class SegmentOut(Schema):
    n: int
    t: float
    cols: int
    rows: int
    snapshot: str = Field(description="control sequences that draw the screen at its beginning")
    events: list[tuple[float, str, str]] = Field(description="as in the asciicast")


class ReplayOut(Schema):
    state: str = Field(description="ready; preparing: ask again in a second; failed: see problem")
    problem: str = ""
    viewing: str = Field("", description="to be sent with each request for a part of it")
    duration: float = 0
    cols: int = 0
    rows: int = 0
    keys: list[float] = Field([], description="seconds at which each segment begins")
    sizes: list[tuple[float, int, int]] = []
    marks: list[tuple[float, str]] = Field([], description="seconds, and what happened: who joined, gaps")
    idle: list[tuple[float, float]] = Field([], description="from and to, where nothing happened for 5 s and more")
    cut: float | None = Field(None, description="what was shown after this is not found by the search")
    segment: SegmentOut | None = Field(None, description="where `at` was given")


class SegmentIn(Schema):
    n: int = Field(ge=0, le=1_000_000)
    viewing: str = Field(max_length=300)


class SearchIn(Schema):
    q: str = Field(max_length=200)
    viewing: str = Field(max_length=300)


class HitOut(Schema):
    t: float
    line: str


class HitsOut(Schema):
    items: list[HitOut] = Field(description=f"in order of time, at most {MAX_HITS}")
    more: bool


@router.get(
    "/{session_id}/recording",
    summary="The recording, as asciicast v2",
    openapi_extra={"responses": {200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}}},
)
def download(request: HttpRequest, session_id: UUID) -> HttpResponseBase:
    """Its owner and auditors; each download is audited."""
    caller = caller_of(request)
    recording = recording_for(caller.person, session_id, caller.proof)
    note_viewing(recording, actor=caller.actor, way="downloaded")
    session = recording.session
    stem = f"{session.login}-{session.host.name}-{session.started_at:%Y%m%dT%H%M%SZ}"
    name = re.sub(r"[^\w.-]", "_", stem, flags=re.ASCII) + ".cast"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(_text(recording), content_type=CONTENT_TYPE, headers=headers)


@router.get("/{session_id}/replay", response=ReplayOut, summary="What there is to play")
def replay(request: HttpRequest, session_id: UUID, wanted: Query[ReplayIn]) -> Any:
    """Its owner and auditors; each time is a viewing, which is audited."""
    caller = caller_of(request)
    recording = recording_for(caller.person, session_id, caller.proof)
    facts = facts_of(recording)
    if facts is None:
        enqueue(session_id, first=True)
        return {"state": "preparing"}
    if facts.problem:
        return {"state": "failed", "problem": facts.problem}
    answer = {
        "state": "ready",
        "viewing": note_viewing(recording, actor=caller.actor, way="played"),
        "duration": facts.duration_s,
        "cols": facts.cols,
        "rows": facts.rows,
        "keys": [key.time for key in facts.keys],
        "sizes": facts.sizes,
        "marks": facts.marks,
        "idle": facts.idle,
        "cut": facts.cut_s,
    }
    if wanted.at is None:
        return answer
    begun = ReplayOut.model_validate(answer).model_dump_json(exclude={"segment"}).encode().removesuffix(b"}")
    first = segment(recording, facts, number_at(facts, wanted.at))
    return _json(begun + b', "segment": ' + first + b"}")


@router.get("/{session_id}/replay/segment", response=SegmentOut, summary="From one key frame to the next")
def read_segment(request: HttpRequest, session_id: UUID, wanted: Query[SegmentIn]) -> Any:
    recording, facts = _viewed(request, session_id, wanted.viewing)
    return _json(segment(recording, facts, wanted.n))


@router.get("/{session_id}/replay/search", response=HitsOut, summary="Lines that were shown, with their times")
def search(request: HttpRequest, session_id: UUID, wanted: Query[SearchIn]) -> Any:
    recording, facts = _viewed(request, session_id, wanted.viewing)
    found = find(recording, facts, wanted.q)
    return {"items": found, "more": len(found) == MAX_HITS}


def _viewed(request: HttpRequest, session_id: UUID, viewing: str) -> tuple[Recording, Facts]:
    """Parts of it are for whose viewing is on record."""
    caller = caller_of(request)
    recording = recording_for(caller.person, session_id, caller.proof)
    check_viewing(viewing, recording, caller.person)
    if (facts := facts_of(recording)) is None:
        raise Conflict("this recording is being prepared; open it again")
    return recording, facts


def _json(content: bytes) -> HttpResponse:
    return HttpResponse(content, content_type="application/json", headers={"Cache-Control": "no-store"})


async def _text(recording: Recording) -> AsyncIterator[bytes]:
    """Frame by frame: it may be larger than memory. Cancelling it between two frames leaves nothing behind."""
    parts = frames(cast_of(recording))
    while (frame := await sync_to_async(_next)(parts)) is not None:
        yield b"".join(frame.lines)


def _next(parts: Iterator[Frame]) -> Frame | None:
    return next(parts, None)
