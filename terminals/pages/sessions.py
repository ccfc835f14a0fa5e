"""Terminal sessions: one's own, and everybody's for admins and auditors."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from terminals.models import Session
from terminals.pages import live
from terminals.pages.frame import show
from terminals.pages.guards import PersonRequest, actor_of, people
from terminals.pages.open_terminals import terminal_url
from terminals.sessions import end_session

PAGE = 50


@people
@require_safe
def sessions(request: PersonRequest) -> HttpResponse:
    everybodys = "all" in request.GET and _sees_all(request)
    mine = _visible(request) if everybodys else Session.objects.filter(person=request.user)
    mine = mine.select_related("person", "host")
    running = mine.filter(ended_at=None).order_by("started_at")
    past = list(_before(request, mine.exclude(ended_at=None)).order_by("-started_at")[: PAGE + 1])
    shown = past[:PAGE]
    shared = {"everybodys": everybodys}
    lists = {
        "live_sessions": live.items(
            request, "sessions/live_row.html", [(str(one.pk), {**shared, **_facts(request, one)}) for one in running]
        ),
        "past_sessions": live.items(
            request, "sessions/past_row.html", [(str(one.pk), {**shared, "session": one}) for one in shown]
        ),
    }
    context = {
        "section": "sessions",
        "sees_all": _sees_all(request),
        **shared,
        "older": shown[-1].started_at.isoformat() if len(past) > PAGE else "",
    }
    return live.answer(request, "sessions/list.html", "sessions/region.html", lists, context)


@people
@require_safe
def session(request: PersonRequest, session_id: UUID) -> HttpResponse:
    return show(request, "sessions/detail.html", {"section": "sessions", **_facts(request, _find(request, session_id))})


@people
@require_POST
def end(request: PersonRequest, session_id: UUID) -> HttpResponse:
    """Owners end their own, admins any. Auditors only look."""
    found = _find(request, session_id)
    if not _may_end(request, found):
        raise PermissionDenied("Only its owner or an admin ends a session.")
    by = "its owner" if found.person_id == request.user.pk else request.user.username
    ended = end_session(session_id=found.pk, reason=f"ended by {by}", actor=actor_of(request))
    told = messages.success if ended else messages.info
    told(request, f"The session on {found.host.name} {'is ended' if ended else 'had ended already'}.")
    return redirect("sessions")


def _facts(request: PersonRequest, session: Session) -> dict[str, object]:
    is_mine, is_live = session.person_id == request.user.pk, session.ended_at is None
    opens = is_mine and is_live and session.has_terminal
    return {
        "session": session,
        "open_url": terminal_url(session.host, session.login, session.pk) if opens else "",
        "may_end": is_live and _may_end(request, session),
    }


def _find(request: PersonRequest, session_id: UUID) -> Session:
    """A session of somebody else's is as unknown as one that never was."""
    found = _visible(request).select_related("person", "host", "grant").filter(pk=session_id).first()
    if found is None:
        raise Http404
    return found


def _visible(request: PersonRequest) -> QuerySet[Session]:
    return Session.objects.all() if _sees_all(request) else Session.objects.filter(person=request.user)


def _before(request: PersonRequest, rows: QuerySet[Session]) -> QuerySet[Session]:
    moment = parse_datetime(request.GET.get("before", "").replace(" ", "+"))
    return rows.filter(started_at__lt=moment) if moment and moment.tzinfo else rows


def _sees_all(request: PersonRequest) -> bool:
    return request.user.is_superuser or request.user.is_auditor


def _may_end(request: PersonRequest, session: Session) -> bool:
    return session.person_id == request.user.pk or request.user.is_superuser
