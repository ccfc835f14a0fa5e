"""REST for auditors: the audit log, in pages or as one stream of JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Field, Query, Router, Schema

from terminals.api.auth import Caller, caller_of, callers
from terminals.api.pages import Paging, page
from terminals.api_tokens import Scope
from terminals.audit_log import find_events, in_batches, note_export
from tunnels.audit import Event, as_dict
from tunnels.models import AuditEvent

router = Router(tags=["audit"], auth=callers(Scope.AUDIT))
NDJSON = "application/x-ndjson"


class AuditFilter(Schema):
    event: Event | None = None
    person: str | None = Field(None, max_length=64)
    host: str | None = Field(None, max_length=63)
    session: UUID | None = None
    outcome: Literal["ok", "refused"] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def find(self) -> QuerySet[AuditEvent]:
        return find_events(**{**self.dict(), "session": str(self.session) if self.session else None})


class AuditOut(Schema):
    id: UUID
    sequence: int
    time: datetime
    event: str
    person: str
    host: str
    login: str
    session: str
    address: str
    outcome: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


class AuditPage(Schema):
    items: list[AuditOut]
    next: str | None


@router.get(
    "",
    response=AuditPage,
    summary="Read the audit log",
    openapi_extra={"responses": {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}},
)
def list_events(request: HttpRequest, paging: Query[Paging], wanted: Query[AuditFilter]) -> Any:
    """Newest first. With `Accept: application/x-ndjson` all that fits, oldest first, one JSON object a line."""
    caller = caller_of(request)
    caller.require_auditor()
    found = wanted.find()
    if NDJSON in request.headers.get("Accept", ""):
        return _export(caller, found, wanted)
    return page(found, paging, by=["-sequence"], show=lambda events: [as_dict(event) for event in events])


def _export(caller: Caller, found: QuerySet[AuditEvent], wanted: AuditFilter) -> HttpResponseBase:
    newest = note_export(actor=caller.actor, **wanted.dict())
    lines = _lines(found, newest)
    return StreamingHttpResponse(lines, content_type=NDJSON, headers={"Cache-Control": "no-store"})


async def _lines(found: QuerySet[AuditEvent], newest: int) -> AsyncIterator[str]:
    async for batch in in_batches(found, newest):
        yield "".join(json.dumps(as_dict(event)) + "\n" for event in batch)
