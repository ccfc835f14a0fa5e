"""The audit log, for auditors: filtered, newest first, a page at a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET, require_safe

from terminals.audit_log import find_events, in_batches, note_export
from terminals.pages.forms import AuditFilterForm
from terminals.pages.frame import show
from terminals.pages.guards import PersonRequest, actor_of, auditors
from tunnels.audit import as_dict
from tunnels.models import AuditEvent
from tunnels.text import csv_line, printable

PAGE = 100
MAX_VALUE = 300
COLUMNS = ("sequence", "time", "event", "outcome", "person", "host", "login", "session", "address")


@dataclass(frozen=True, slots=True)
class Entry:
    event: AuditEvent
    detail: list[tuple[str, str]]


@auditors
@require_safe
def audit(request: PersonRequest) -> HttpResponse:
    form = AuditFilterForm(request.GET or None)
    is_understood = form.is_valid() or not form.is_bound
    wanted = dict(form.cleaned_data) if form.is_bound and is_understood else {}
    before = wanted.pop("before", None)
    # Nothing is shown for a filter that was not understood: it could be taken for its answer.
    found = find_events(**wanted) if is_understood else AuditEvent.objects.none()
    if before:
        found = found.filter(sequence__lt=before)
    events = list(found.order_by("-sequence")[: PAGE + 1])
    shown = [Entry(event, readable(event.detail)) for event in events[:PAGE]]
    context = {
        "section": "audit",
        "form": form,
        "entries": shown,
        "is_filtered": any(wanted.values()),
        "older": _query(request, before=shown[-1].event.sequence) if len(events) > PAGE else "",
        "newest": _query(request) if before else None,
        "export": _for_rest(wanted),
        "export_csv": _query(request),
    }
    return show(request, "audit/list.html", context)


@auditors
@require_GET
def export(request: PersonRequest) -> HttpResponseBase:
    """All that fits the filters, oldest first, for a spreadsheet. That it was taken is on record."""
    form = AuditFilterForm(request.GET or None)
    if form.is_bound and not form.is_valid():
        return HttpResponseBadRequest("The filter was not understood.", content_type="text/plain")
    wanted = {name: value for name, value in (form.cleaned_data if form.is_bound else {}).items() if name != "before"}
    newest = note_export(actor=actor_of(request), form="CSV", **wanted)
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingHttpResponse(_csv(find_events(**wanted), newest), content_type="text/csv", headers=headers)


async def _csv(found: QuerySet[AuditEvent], newest: int) -> AsyncIterator[str]:
    yield csv_line([*COLUMNS, "detail", "id", "previous_hash", "hash"])
    async for batch in in_batches(found, newest):
        yield "".join(csv_line(_cells(event)) for event in batch)


def _cells(event: AuditEvent) -> list[str]:
    facts = as_dict(event)
    detail = json.dumps(facts["detail"], ensure_ascii=False) if facts["detail"] else ""
    return [*(str(facts[name]) for name in COLUMNS), detail, facts["id"], facts["previous_hash"], facts["hash"]]


def readable(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values as one line of text each. What strangers sent is shown, never interpreted."""
    return [(printable(name, 64), _value(value)) for name, value in detail.items() if value not in (None, "", [], {})]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return printable(value, MAX_VALUE)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return printable(", ".join(value), MAX_VALUE)
    if isinstance(value, dict):
        return "; ".join(f"{name} {held}" for name, held in readable(value))
    return printable(json.dumps(value), MAX_VALUE)


def _query(request: PersonRequest, **more: int) -> str:
    """The filters as they were typed, for the next page."""
    kept = {name: value for name, value in request.GET.items() if name in AuditFilterForm.base_fields and value}
    kept.pop("before", None)
    return urlencode({**kept, **more})


def _for_rest(wanted: dict[str, Any]) -> str:
    """The filters as REST takes them: it knows no durations."""
    given = {name: value for name, value in wanted.items() if value}
    return urlencode(
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in given.items()}
    )
