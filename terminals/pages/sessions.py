"""Terminal sessions: one's own, those one may observe, and everybody's for admins and auditors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST, require_safe

from terminals.access import Capability
from terminals.api.pages import Paging, page
from terminals.audit_log import note_export
from terminals.models import Person, Session
from terminals.pages import live
from terminals.pages.forms import SessionFilterForm
from terminals.pages.frame import refusal_shown, show
from terminals.pages.guards import PersonRequest, actor_of, auditors, people
from terminals.pages.player import recording_of
from terminals.pages.session_rows import actions, live_facts, may_end, past_facts
from terminals.pages.session_search import Found, find_in_recordings, open_to
from terminals.reachable import grants_of
from terminals.seating import observable
from terminals.session_log import COLUMNS, cells, find_sessions, in_batches, totals
from terminals.sessions import end_session
from tunnels.errors import Invalid
from tunnels.text import csv_line

PAGE = 50
MAX_LIVE = 200


@people
@require_safe
def sessions(request: PersonRequest) -> HttpResponse:
    everybodys = "all" in request.GET and (_sees_all(request.user) or _observes(request.user))
    form = SessionFilterForm(request.GET or None)
    if words := _wanted(form).get("q"):
        return _search(request, form, words, everybodys=everybodys)
    past = _past(request, form, everybodys=everybodys)
    shown, older = _page(past, request.GET.get("before"))
    running = _running(request, everybodys=everybodys)
    watchable = set(running.filter(_observable(request)).values_list("pk", flat=True))
    known, is_auditor = {"everybodys": everybodys}, request.user.is_auditor
    rows = [
        (str(one.pk), {**known, **live_facts(one, viewer=request.user, observable=watchable)})
        for one in running.order_by("started_at")[:MAX_LIVE]
    ]
    lists = {
        "live_sessions": live.items(request, "sessions/live_row.html", rows),
        "past_sessions": live.items(
            request,
            "sessions/past_row.html",
            [(str(one.pk), {**known, **past_facts(one, viewer=request.user, is_auditor=is_auditor)}) for one in shown],
        ),
    }
    context = {
        **_frame(request, form, everybodys=everybodys),
        "older": _query(request, before=older) if older else "",
        "newest": _query(request) if request.GET.get("before") else None,
    }
    if not request.htmx:  # what they add up to is not counted anew every few seconds
        context |= {"totals": totals(past), "more_live": max(0, running.count() - MAX_LIVE)}
    return live.answer(request, "sessions/list.html", "sessions/region.html", lists, context)


def _search(request: PersonRequest, form: SessionFilterForm, words: str, *, everybodys: bool) -> HttpResponse:
    """Only in recordings that one may play: being admin opens none."""
    is_all = everybodys and request.user.is_auditor
    playable, asks_for_factor = open_to(request, _past(request, form, everybodys=is_all))
    is_filtered = asks_for_factor or any(value for name, value in _wanted(form).items() if name != "q")
    found: list[Found] = []
    with refusal_shown(request, form):
        found = find_in_recordings(words, playable, is_all=is_all and not is_filtered, actor=actor_of(request))
    context = {
        **_frame(request, form, everybodys=everybodys),
        "found": found,
        "words": words,
        "in_all": is_all,
        "confirm": urlencode({"next": request.get_full_path()}) if asks_for_factor else "",
    }
    return show(request, "sessions/found.html", context)


@auditors
@require_GET
def export(request: PersonRequest) -> HttpResponseBase:
    """All past ones that fit the filters, oldest first, for a spreadsheet. That it was taken is on record."""
    form = SessionFilterForm(request.GET or None)
    if form.is_bound and not form.is_valid():
        return HttpResponseBadRequest("The filter was not understood.", content_type="text/plain")
    note_export(actor=actor_of(request), form="CSV", what="sessions", **_wanted(form))
    headers = {"Content-Disposition": 'attachment; filename="sessions.csv"'}
    found = _past(request, form, everybodys=True)
    return StreamingHttpResponse(_csv(found), content_type="text/csv", headers=headers)


@people
@require_safe
def session(request: PersonRequest, session_id: UUID) -> HttpResponse:
    found = _find(request, session_id)
    facts = {"section": "sessions", **actions(found, request.user), **recording_of(request, found)}
    return show(request, "sessions/detail.html", facts)


@people
@require_POST
def end(request: PersonRequest, session_id: UUID) -> HttpResponse:
    found = _find(request, session_id)
    if not may_end(found, request.user):
        raise PermissionDenied("Only its owner or an admin ends a session.")
    by = "its owner" if found.person_id == request.user.pk else request.user.username
    ended = end_session(session_id=found.pk, reason=f"ended by {by}", actor=actor_of(request))
    told = messages.success if ended else messages.info
    told(request, f"The session on {found.host.name} {'is ended' if ended else 'had ended already'}.")
    return redirect("sessions")


def _running(request: PersonRequest, *, everybodys: bool) -> QuerySet[Session]:
    rows = Session.objects.filter(ended_at=None).select_related("person", "host", "recording")
    if everybodys and _sees_all(request.user):
        return rows
    mine = Q(person=request.user)
    return rows.filter(mine | _observable(request) if everybodys else mine)


def _past(request: PersonRequest, form: SessionFilterForm, *, everybodys: bool) -> QuerySet[Session]:
    """Nothing for a filter that was not understood: it could be taken for its answer."""
    if form.is_bound and not form.is_valid():
        return Session.objects.none()
    is_all = everybodys and _sees_all(request.user)
    rows = Session.objects.all() if is_all else Session.objects.filter(person=request.user)
    wanted = {name: value for name, value in _wanted(form).items() if name != "q"}
    return find_sessions(rows.exclude(ended_at=None), **wanted).select_related("person", "host", "recording")


def _page(past: QuerySet[Session], cursor: str | None) -> tuple[list[Session], str | None]:
    """The sessions of a page, and the cursor of the next one. A cursor that is none begins at the newest."""
    try:
        found = page(past, Paging.model_construct(limit=PAGE, cursor=cursor), by=["-started_at", "id"], show=list)
    except Invalid:
        return _page(past, None)
    return found["items"], found["next"]


def _frame(request: PersonRequest, form: SessionFilterForm, *, everybodys: bool) -> dict[str, Any]:
    """What is above the lists, whichever they are."""
    return {
        "section": "sessions",
        "form": form,
        "everybodys": everybodys,
        "has_tabs": everybodys or _sees_all(request.user) or _observes(request.user),
        "is_filtered": any(_wanted(form).values()),
        "query": _query(request),
    }


def _wanted(form: SessionFilterForm) -> dict[str, Any]:
    return dict(form.cleaned_data) if form.is_bound and form.is_valid() else {}


def _query(request: PersonRequest, **more: str) -> str:
    """The filters as they were typed, for another page of them."""
    kept = {name: value for name, value in request.GET.items() if name in SessionFilterForm.base_fields and value}
    return urlencode({**({"all": ""} if "all" in request.GET else {}), **kept, **more})


async def _csv(found: QuerySet[Session]) -> AsyncIterator[str]:
    yield csv_line(COLUMNS)
    async for batch in in_batches(found):
        yield "".join(csv_line(cells(one)) for one in batch)


def _find(request: PersonRequest, session_id: UUID) -> Session:
    """A session of somebody else's is as unknown as one that never was."""
    rows = Session.objects.all() if _sees_all(request.user) else Session.objects.filter(person=request.user)
    found = rows.select_related("person", "host", "grant").filter(pk=session_id).first()
    if found is None:
        raise Http404
    return found


def _sees_all(person: Person) -> bool:
    return person.is_superuser or person.is_auditor


def _observes(person: Person) -> bool:
    """Whether any grant lets the person observe somebody, somewhere."""
    return any(Capability.OBSERVE in grant.capabilities for grant in grants_of(person))


def _observable(request: PersonRequest) -> Q:
    return observable(request.user, request.META["REMOTE_ADDR"])
