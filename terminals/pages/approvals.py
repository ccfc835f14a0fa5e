"""Machines that wait for an admin, and the hosts that one has let in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from terminals.access import Capability
from terminals.grants import create_grant
from terminals.pages import live
from terminals.pages.frame import attempt
from terminals.pages.guards import PersonRequest, actor_of, admins
from terminals.presence import presence
from terminals.second_factor import set_second_factor
from tunnels.acts import together
from tunnels.enrollment import approve_enrollment, reject_enrollment
from tunnels.hosts import change_login, rename_host, revoke_host
from tunnels.keys import parse_public_key
from tunnels.models import Host, State

MAX_PAST = 50


@admins
@require_safe
def approvals(request: PersonRequest) -> HttpResponse:
    # The oldest first: a new request appears below the others and moves nothing under the mouse.
    waiting = [(str(host.pk), _waiting(host)) for host in Host.objects.pending().order_by("requested_at")]
    approved = Host.objects.approved().with_presence().select_related("second_factor_rule").order_by("name")
    past = Host.objects.filter(state__in=(State.REJECTED, State.REVOKED)).order_by("-decided_at")[:MAX_PAST]
    lists = {
        "waiting_machines": live.items(request, "approvals/waiting.html", waiting),
        "approved_hosts": live.items(
            request, "approvals/host.html", [(str(host.pk), _known(host)) for host in approved]
        ),
        "past_hosts": live.items(request, "approvals/past.html", [(str(host.pk), {"host": host}) for host in past]),
    }
    context = {"section": "approvals"}
    return live.answer(request, "approvals/list.html", "approvals/region.html", lists, context)


@admins
@require_POST
def approve(request: PersonRequest, host_id: UUID) -> HttpResponse:
    """Approve the machine whose fingerprint was on the page, with the grant that was ticked, or neither."""
    host, actor = _host(host_id), actor_of(request)
    fingerprint = request.POST.get("fingerprint", "").strip()
    wants_grant, login = "grant" in request.POST, request.POST.get("login", "").strip()

    def approve_with_grant() -> None:
        with together():
            approve_enrollment(host=host, fingerprint=fingerprint, actor=actor)
            if wants_grant:
                create_grant(
                    actor=actor, person=request.user, host=host, logins=[login], capabilities=[Capability.TERMINAL]
                )

    done = f"{host.name} is approved" + (f", and you have a terminal there as {login}." if wants_grant else ".")
    return attempt(request, "approvals", approve_with_grant, done)


@admins
@require_POST
def reject(request: PersonRequest, host_id: UUID) -> HttpResponse:
    host = _host(host_id)
    return attempt(
        request, "approvals", lambda: reject_enrollment(host=host, actor=actor_of(request)), f"{host.name} is rejected."
    )


@admins
@require_POST
def revoke(request: PersonRequest, host_id: UUID) -> HttpResponse:
    host = _host(host_id)
    done = f"{host.name} is revoked: its tunnel and its sessions end."
    return attempt(request, "approvals", lambda: revoke_host(host=host, actor=actor_of(request)), done)


@admins
@require_POST
def rename(request: PersonRequest, host_id: UUID) -> HttpResponse:
    host, name = _host(host_id), request.POST.get("name", "").strip()
    done = f"{host.name} is called {name} now."
    return attempt(request, "approvals", lambda: rename_host(host=host, name=name, actor=actor_of(request)), done)


@admins
@require_POST
def set_login(request: PersonRequest, host_id: UUID) -> HttpResponse:
    host, login = _host(host_id), request.POST.get("login", "").strip()
    done = f"The default login of {host.name} is {login} now."
    return attempt(request, "approvals", lambda: change_login(host=host, login=login, actor=actor_of(request)), done)


@admins
@require_POST
def set_factor(request: PersonRequest, host_id: UUID) -> HttpResponse:
    host, required = _host(host_id), "required" in request.POST
    done = f"On {host.name} a second factor is {'required now' if required else 'not required any more'}."
    return attempt(
        request, "approvals", lambda: set_second_factor(host=host, required=required, actor=actor_of(request)), done
    )


def _host(host_id: UUID) -> Host:
    return get_object_or_404(Host, pk=host_id)


def _waiting(host: Host) -> dict[str, Any]:
    return {"host": host, "host_keys": [parse_public_key(line) for line in host.host_keys]}


def _known(host: Host) -> dict[str, Any]:
    return {"host": host, "presence": presence(host)}
