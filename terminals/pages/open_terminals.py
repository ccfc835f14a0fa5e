"""Where a terminal opens, and a person's own that are open: each a link that attaches to it again, from any browser."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from terminals.models import Session
from terminals.pages import live
from terminals.pages.guards import PersonRequest
from tunnels.models import Host

MAX_SHOWN = 12


def terminal_url(host: Host, login: str, session: UUID | None = None) -> str:
    """Opens a terminal, or attaches to the one of `session`."""
    query = {"login": login, **({"session": str(session)} if session else {})}
    return f"{reverse('terminal', args=[host.name])}?{urlencode(query)}"


def open_terminals(request: PersonRequest, host: Host | None = None) -> list[live.Item]:
    """The newest of the person's own live terminals, on `host` or anywhere, and how many more there are."""
    rows = Session.objects.filter(person=request.user, ended_at=None, has_terminal=True)
    if host is not None:
        rows = rows.filter(host=host)
    shown = rows.select_related("host").order_by("-started_at")[:MAX_SHOWN]
    links = [
        (str(one.pk), {"session": one, "url": terminal_url(one.host, one.login, one.pk), "names_host": host is None})
        for one in shown
    ]
    more = rows.count() - MAX_SHOWN if len(links) == MAX_SHOWN else 0
    counted = [("more", {"more": more})] if more > 0 else []
    return live.items(request, "hosts/open_terminal.html", links) + live.items(request, "hosts/open_more.html", counted)
