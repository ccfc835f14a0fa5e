"""REST for grants: list, make, revoke, and explain why somebody may or may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from pydantic import BeforeValidator, ConfigDict, StrictInt

from terminals.access import Capability, Decision, no_grant
from terminals.api.auth import Caller, caller_of, callers
from terminals.api.pages import Paging, page
from terminals.api_tokens import Scope
from terminals.durations import parse_duration
from terminals.grants import (
    MAX_LOGINS,
    MAX_NETWORKS,
    create_grant,
    describe,
    describe_limits,
    parse_tag,
    revoke_grant,
)
from terminals.limits import GrantLimits
from terminals.models import Grant, Person
from terminals.people import find_group, find_person
from terminals.reachable import decide_access, reachable_hosts, unknown_host
from tunnels.acts import check
from tunnels.audit import Event
from tunnels.errors import NotFound
from tunnels.models import Host

router = Router(tags=["grants"], auth=callers(Scope.GRANTS))
Text = Annotated[str, Field(max_length=200)]


def _seconds(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    if (seconds := parse_duration(given)) is None:
        raise ValueError("send seconds, or a duration such as 10m or 2h")
    return seconds


Seconds = Annotated[StrictInt, BeforeValidator(_seconds, json_schema_input_type=int | str)]


class GrantOnHostIn(Schema):
    """A grant but for its hosts; an approval says these."""

    model_config = ConfigDict(extra="forbid")

    person: Text | None = None
    group: Text | None = None
    logins: list[Text] = Field(max_length=MAX_LOGINS)
    capabilities: list[Text] = Field([Capability.TERMINAL.value], max_length=len(Capability))
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    networks: list[Text] = Field([], max_length=MAX_NETWORKS)
    grace: Seconds | None = Field(None, description="a terminal waits no longer for its browser; seconds or 10m")
    idle: Seconds | None = Field(None, description="a terminal nobody types in ends after this; likewise")
    longest: Seconds | None = Field(None, description="the longest terminal session; likewise")

    def facts(self) -> dict[str, Any]:
        """What `create_grant` takes. NotFound where the person or group is unknown."""
        return {
            **self.dict(exclude={"grace", "idle", "longest"}),
            "limits": GrantLimits(self.grace, self.idle, self.longest),
            "person": find_person(self.person) if self.person else None,
            "group": find_group(self.group) if self.group else None,
        }


class GrantIn(GrantOnHostIn):
    host: Text | None = None
    tag: Text | None = Field(None, description="key=value")
    all_hosts: bool = False

    def facts(self) -> dict[str, Any]:
        return {
            **super().facts(),
            "host": _host_to_grant(self.host) if self.host else None,
            "tag": parse_tag(self.tag) if self.tag else None,
        }


class GrantOut(Schema):
    id: int
    person: str | None
    group: str | None
    host: str | None
    tag: str | None
    all_hosts: bool
    logins: list[str]
    capabilities: list[str]
    valid_from: datetime | None
    valid_until: datetime | None
    networks: list[str]
    grace: int | None = Field(description="seconds; null: the broker's setting. The shorter of the two counts")
    idle: int | None
    longest: int | None


class LimitsOut(Schema):
    grace: int | None
    idle: int | None
    longest: int | None


class GrantPage(Schema):
    items: list[GrantOut]
    next: str | None


class ExplainIn(Schema):
    model_config = ConfigDict(extra="forbid")

    person: Text | None = Field(None, description="the caller, where none is named")
    host: Text
    login: Text
    capability: Capability = Capability.TERMINAL
    address: IPv4Address | IPv6Address | None = Field(None, description="where the person would sit")


class DecisionOut(Schema):
    allowed: bool
    reason: str
    grant: int | None
    limits: LimitsOut | None = Field(description="of that grant, in seconds; null where none allows it")


@router.get("", response=GrantPage, summary="List the standing grants")
def list_grants(
    request: HttpRequest, paging: Query[Paging], person: Text | None = None, host: Text | None = None
) -> Any:
    """Newest first; `person` and `host` narrow it to those that name them."""
    caller_of(request).require_admin()
    grants = Grant.objects.standing().select_related("person", "group", "host")
    if person:
        grants = grants.filter(person__username=person)
    if host:
        grants = grants.filter(host__name=host)
    return page(grants, paging, by=["-id"], show=_shown)


@router.post("", response={201: GrantOut}, summary="Make a grant")
def add_grant(request: HttpRequest, body: GrantIn) -> Status:
    caller = caller_of(request)
    _require_admin(caller, Event.GRANT_CREATED)
    return Status(201, describe(create_grant(**body.facts(), actor=caller.actor)))


@router.delete("/{int:grant_id}", response={204: None}, summary="Revoke a grant")
def delete_grant(request: HttpRequest, grant_id: int) -> Status:
    """Terminal sessions that no other grant allows end within seconds."""
    caller = caller_of(request)
    _require_admin(caller, Event.GRANT_REVOKED)
    grant = Grant.objects.standing().select_related("person", "group", "host").filter(pk=grant_id).first()
    if grant is None:
        raise NotFound(f"there is no standing grant {grant_id}")
    revoke_grant(grant=grant, actor=caller.actor)
    return Status(204, None)


@router.post("/explain", response=DecisionOut, summary="May they, and why")
def explain(request: HttpRequest, body: ExplainIn) -> Any:
    """For admins about anybody; for everybody else about themselves, seen from where they call."""
    decision = _explain(caller_of(request), body)
    return {**asdict(decision), "limits": describe_limits(decision.limits) if decision.allowed else None}


def _explain(caller: Caller, body: ExplainIn) -> Decision:
    if body.person in (None, caller.person.username):
        return _explain_self(caller, body)
    caller.require_admin()
    return _decide(find_person(body.person or ""), body, None)


def _explain_self(caller: Caller, body: ExplainIn) -> Decision:
    reachable = reachable_hosts(caller.person, address=caller.address).filter(name=body.host)
    if caller.is_admin or reachable.exists():
        return _decide(caller.person, body, caller.address)
    # The same words for a host that is unknown, waiting, or somebody else's.
    return Decision(False, no_grant(caller.person.username, body.host))


def _decide(person: Person, body: ExplainIn, address: str | None) -> Decision:
    host = Host.objects.named().filter(name=body.host).first()
    if host is None:
        raise unknown_host(body.host)
    place = str(body.address) if body.address else address
    return decide_access(person=person, host=host, login=body.login, capability=body.capability, address=place)


def _host_to_grant(name: str) -> Host:
    host = Host.objects.named().filter(name=name).first()
    if host is None:
        raise unknown_host(name)
    return host


def _require_admin(caller: Caller, event: Event) -> None:
    with check(event, actor=caller.actor):
        caller.require_admin()


def _shown(grants: Sequence[Grant]) -> list[dict[str, Any]]:
    return [describe(grant) for grant in grants]
