"""Terminals that are somebody else's: the page that a link leads to, and the one on which people watch.

Neither lets anybody in. The secret of a link stands behind the # of the address and never gets here; the page's script
asks REST with it, which decides, as it does for those who watch by a right of their own.
"""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from terminals.models import Person, Session
from terminals.pages.factors import asks_for_factor
from terminals.pages.guards import PersonRequest, people
from terminals.pages.open_terminals import terminal_url
from terminals.preferences import default_preferences, preferences_of
from terminals.seating import observable
from terminals.shares import invited_to


@require_safe
@never_cache
@ensure_csrf_cookie
def join(request: HttpRequest) -> HttpResponse:
    """For anybody, also without a login: it is the same page for every link, and for none."""
    login_url = f"{reverse('account_login')}?{urlencode({'next': reverse('join')})}"
    preferences = preferences_of(request.user) if isinstance(request.user, Person) else default_preferences()
    context = {"is_gated": True, "login_url": login_url, "preferences": preferences.dict()}
    response = render(request, "join/join.html", context)
    response["Referrer-Policy"] = "no-referrer"
    return response


@people
@require_safe
def watch(request: PersonRequest, session_id: UUID) -> HttpResponse:
    """A terminal that one may neither observe nor was invited to is as unknown as one that never was."""
    mine = Session.objects.filter(person=request.user, has_terminal=True)
    if own := mine.select_related("host").filter(pk=session_id).first():
        return redirect(terminal_url(own.host, own.login, own.pk))
    rows = Session.objects.filter(ended_at=None, has_terminal=True).select_related("host")
    visible = rows.filter(invited_to(request.user) | observable(request.user, request.META["REMOTE_ADDR"]))
    if (session := visible.filter(pk=session_id).first()) is None:
        raise Http404
    if (way := asks_for_factor(request, session.host)) is not None:
        return way
    context = {
        "host": session.host.name,
        "login": session.login,
        "session_id": session.pk,
        "preferences": preferences_of(request.user).dict(),
    }
    return render(request, "join/watch.html", context)
