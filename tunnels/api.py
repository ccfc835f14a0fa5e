"""REST for machines: ask to enroll, and learn what became of it."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from ninja import Router, Schema, Status
from ninja.security import HttpBearer
from pydantic import ConfigDict, Field

from tunnels import keystore
from tunnels.enrollment import is_poll_token, poll_token, request_enrollment, throttle
from tunnels.errors import NotFound, TooMany
from tunnels.keys import MAX_KEY_LINE
from tunnels.models import Host
from tunnels.rules import MAX_HOST_KEYS

router = Router(tags=["enrollments"])

KeyLine = Annotated[str, Field(max_length=MAX_KEY_LINE)]
"""An OpenSSH public key line; whether it is one, and a good one, is `tunnels.keys`'s to say."""
InfoText = Annotated[str, Field(max_length=200)]


class Strict(Schema):
    """Bodies from outside: no conversion of types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class InfoIn(Strict):
    hostname: InfoText = ""
    os: InfoText = ""
    arch: InfoText = ""
    version: InfoText = ""


class EnrollmentIn(Strict):
    name: Annotated[str, Field(max_length=255)]
    public_key: KeyLine
    # One more than allowed passes here, so that too many get the sentence of the rule.
    host_keys: Annotated[list[KeyLine], Field(max_length=MAX_HOST_KEYS + 1)]
    token: Annotated[str, Field(max_length=200)] | None = None
    login: Annotated[str, Field(max_length=64)] | None = None
    tunnel_port: int | None = None
    info: InfoIn = InfoIn()


class GatewayOut(Schema):
    host: str
    port: int
    host_keys: list[str]


class EnrollmentOut(Schema):
    id: UUID
    name: str
    state: str
    fingerprint: str
    code: str
    login: str
    tunnel_port: int
    ca_public_key: str
    ca_public_keys: list[str]
    """All that the host should trust now: another one as well while the authority is replaced."""
    ca_endorsement: str
    """The next authority in an OpenSSH host certificate of the present one; empty where there is none."""
    gateway: GatewayOut


class NewEnrollmentOut(EnrollmentOut):
    poll_token: str


class PollAuth(HttpBearer):
    """The poll token of the enrollment in the path. It is derived, so a wrong one says nothing about what exists."""

    def authenticate(self, request: HttpRequest, token: str) -> bool:
        assert request.resolver_match
        return is_poll_token(str(request.resolver_match.kwargs["enrollment_id"]), token)


@router.post("", response={200: NewEnrollmentOut, 201: NewEnrollmentOut}, auth=None, summary="Ask to enroll")
def create_enrollment(request: HttpRequest, body: EnrollmentIn) -> Status:
    """A machine asks to become a host. The same key again answers the same enrollment (200)."""
    address = request.META["REMOTE_ADDR"]
    if wait_s := throttle.take(address, time.monotonic()):
        raise TooMany(f"too many enrollment requests from {address}; try again in {wait_s} s", wait_s)
    host, is_new = request_enrollment(**body.dict(), address=address)
    return Status(201 if is_new else 200, {**_as_dict(host), "poll_token": poll_token(host)})


@router.get("/{uuid:enrollment_id}", response=EnrollmentOut, auth=PollAuth(), summary="What became of it")
def read_enrollment(request: HttpRequest, enrollment_id: UUID) -> dict[str, object]:
    """The enrollment as it is now, for the machine that holds its `poll_token`."""
    if (host := Host.objects.filter(pk=enrollment_id).first()) is None:
        raise NotFound("there is no such enrollment any more")
    return _as_dict(host)


def _as_dict(host: Host) -> dict[str, object]:
    gateway = settings.BROKERD.gateway_address
    return {
        "id": host.pk,
        "name": host.name,
        "state": host.state,
        "fingerprint": host.fingerprint,
        "code": host.code,
        "login": host.login,
        "tunnel_port": host.tunnel_port,
        "ca_public_key": keystore.authority_line(),
        "ca_public_keys": keystore.authority_lines(),
        "ca_endorsement": keystore.endorsement(),
        "gateway": {"host": gateway.host, "port": gateway.port, "host_keys": keystore.gateway_lines()},
    }
