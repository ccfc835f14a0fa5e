"""REST for hosts: those that the caller may reach, and an admin's decisions about machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from pydantic import ConfigDict

from terminals.api.auth import Caller, caller_of, callers
from terminals.api.grants import GrantOnHostIn
from terminals.api.pages import Paging, page
from terminals.api_tokens import Scope
from terminals.grants import create_grant
from terminals.presence import presence
from terminals.reachable import Right, find_host, reachable_hosts, rights_on, unknown_host
from terminals.second_factor import required_among, set_second_factor
from tunnels.acts import check, together
from tunnels.audit import Event
from tunnels.enrollment import approve_enrollment, reject_enrollment
from tunnels.hosts import revoke_host
from tunnels.models import Host, State

router = Router(tags=["hosts"], auth=callers(Scope.HOSTS))


class RightOut(Schema):
    login: str
    capabilities: list[str]


class AskedOut(Schema):
    id: UUID
    fingerprint: str
    code: str
    address: str
    requested_at: datetime


class HostOut(Schema):
    name: str
    state: str
    online: bool
    last_seen: datetime | None
    offline_reason: str | None
    tags: dict[str, str]
    logins: list[str] = Field(description="under which the caller may do something here")
    capabilities: list[str] = Field(description="those that at least one of the logins has; `rights` says which")
    rights: list[RightOut]
    info: dict[str, Any]
    tunnel_port: int
    second_factor: bool = Field(description="whether one is required of the caller here")
    enrollment: AskedOut | None = Field(description="for admins: what an approval goes by")


class HostPage(Schema):
    items: list[HostOut]
    next: str | None


class ApproveIn(Schema):
    model_config = ConfigDict(extra="forbid")

    fingerprint: str = Field(max_length=100, description="as it was shown to the approver")
    grants: list[GrantOnHostIn] = Field([], max_length=100)


class FactorIn(Schema):
    model_config = ConfigDict(extra="forbid")

    required: bool


@router.get("", response=HostPage, summary="List the hosts that you may reach")
def list_hosts(request: HttpRequest, paging: Query[Paging], state: State | None = None) -> Any:
    """By name. An admin may name a `state`, and then sees every machine in it, reachable or not."""
    caller = caller_of(request)
    if state is None:
        hosts = reachable_hosts(caller.person, address=caller.address)
    else:
        caller.require_admin()
        hosts = Host.objects.filter(state=state)
    return page(hosts.with_presence(), paging, by=["name", "id"], show=lambda rows: _shown(caller, rows))


@router.get("/{name}", response=HostOut, summary="One host")
def read_host(request: HttpRequest, name: str) -> Any:
    caller = caller_of(request)
    return _shown(caller, [find_host(caller.person, name, address=caller.address)])[0]


@router.post("/{name}/approve", response=HostOut, summary="Approve a machine")
def approve(request: HttpRequest, name: str, body: ApproveIn) -> Any:
    """Approval and grants stand or fall together. Being admin opens no shell: grant yourself what you need."""
    caller = caller_of(request)
    host = _for_admin(caller, name, Event.HOST_APPROVED)
    if body.grants:
        caller.require_scope(Scope.GRANTS)
    with together():
        approve_enrollment(host=host, fingerprint=body.fingerprint, actor=caller.actor)
        for grant in body.grants:
            create_grant(**grant.facts(), host=host, actor=caller.actor)
    return _again(caller, host)


@router.post("/{name}/reject", response=HostOut, summary="Turn a waiting machine away")
def reject(request: HttpRequest, name: str) -> Any:
    caller = caller_of(request)
    host = _for_admin(caller, name, Event.HOST_REJECTED)
    reject_enrollment(host=host, actor=caller.actor)
    return _again(caller, host)


@router.post("/{name}/revoke", response=HostOut, summary="Revoke a host")
def revoke(request: HttpRequest, name: str) -> Any:
    """Its tunnel and terminal sessions end at once; its key opens nothing any more."""
    caller = caller_of(request)
    host = _for_admin(caller, name, Event.HOST_REVOKED)
    revoke_host(host=host, actor=caller.actor)
    return _again(caller, host)


@router.put("/{name}/second-factor", response=HostOut, summary="Require a second factor on a host, or no more")
def require_factor(request: HttpRequest, name: str, body: FactorIn) -> Any:
    """Of everybody. What is open there without one ends."""
    caller = caller_of(request)
    host = _for_admin(caller, name, Event.SETTING_CHANGED)
    set_second_factor(host=host, required=body.required, actor=caller.actor)
    return _again(caller, host)


def _for_admin(caller: Caller, name: str, event: Event) -> Host:
    """The machine that holds `name`, for an admin's decision. Others learn no more of it than a look at it tells them:
    NotAllowed where they may reach it, else NotFound as for a name that nobody holds."""
    with check(event, actor=caller.actor, host=name):
        if not caller.is_admin:
            find_host(caller.person, name, address=caller.address)
        caller.require_admin()
        host = Host.objects.named().filter(name=name).first()
        if host is None:
            raise unknown_host(name)
        return host


def _again(caller: Caller, host: Host) -> dict[str, Any]:
    return _shown(caller, [Host.objects.with_presence().get(pk=host.pk)])[0]


def _shown(caller: Caller, hosts: Sequence[Host]) -> list[dict[str, Any]]:
    rights = rights_on(caller.person, hosts, address=caller.address)
    asking = required_among(caller.person.pk, [host.pk for host in hosts])
    return [{**_as_dict(host, rights[host.pk], caller), "second_factor": host.pk in asking} for host in hosts]


def _as_dict(host: Host, rights: tuple[Right, ...], caller: Caller) -> dict[str, Any]:
    seen = presence(host)
    return {
        "name": host.name,
        "state": host.state,
        "online": seen.online,
        "last_seen": seen.last_seen,
        "offline_reason": seen.offline_reason,
        "tags": host.tag_map,
        "logins": [right.login for right in rights],
        "capabilities": sorted({str(item) for right in rights for item in right.capabilities}),
        "rights": [{"login": right.login, "capabilities": list(right.capabilities)} for right in rights],
        "info": host.info,
        "tunnel_port": host.tunnel_port,
        "enrollment": _enrollment(host) if caller.is_admin else None,
    }


def _enrollment(host: Host) -> dict[str, Any]:
    return {name: getattr(host, name) for name in AskedOut.model_fields}
