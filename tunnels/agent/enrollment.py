"""Enrollment as the portal tells it, and what of it is pinned. Data in, data out; the waiting is in `approval`."""

from __future__ import annotations

import dataclasses
import platform
import socket
from dataclasses import dataclass
from typing import Any

import asyncssh
from asyncssh.public_key import CERT_TYPE_HOST

from tunnels.agent import VERSION
from tunnels.agent.state import Broker, Gateway

ENDORSED = "brokerd-authority"
"""What the certificate of the next authority is for; it is no user's."""
STATES = frozenset({"pending", "approved", "rejected", "revoked"})


class BadAnswer(ValueError):
    """The portal's answer does not have the promised form."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the portal says about this machine's enrollment."""

    id: str
    name: str
    state: str
    tunnel_port: int
    fingerprint: str
    code: str
    ca_public_key: str
    gateway: Gateway
    ca_endorsement: str = ""
    """An OpenSSH certificate line in which the authority vouches for the one that follows; empty where none does."""


def request_body(*, name: str, public_key: str, host_keys: list[str], login: str, token: str | None) -> dict[str, Any]:
    """The body of `POST /enrollments`."""
    body: dict[str, Any] = {"name": name, "public_key": public_key, "host_keys": host_keys, "login": login}
    if token:
        body["token"] = token
    return {**body, "info": machine_info()}


def machine_info() -> dict[str, str]:
    return {
        "hostname": socket.gethostname(),
        "os": _os_name(),
        "arch": platform.machine(),
        "version": f"brokerd-agent {VERSION}",
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def parse_answer(body: dict[str, Any]) -> Answer:
    """The answer to an enrollment or to a look at it. BadAnswer where something is missing or makes no sense."""
    try:
        gateway = body["gateway"]
        answer = Answer(
            id=_text(body["id"]),
            name=_text(body["name"]),
            state=_text(body["state"]),
            tunnel_port=_port(body["tunnel_port"]),
            fingerprint=_text(body["fingerprint"]),
            code=_text(body["code"]),
            ca_public_key=public_line(_text(body["ca_public_key"])),
            gateway=Gateway(
                _text(gateway["host"]),
                _port(gateway["port"]),
                tuple(public_line(_text(line)) for line in gateway["host_keys"]),
            ),
            ca_endorsement=_text(body.get("ca_endorsement") or ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer(f"the portal's answer does not make sense ({type(error).__name__}: {error})") from error
    if answer.state not in STATES or not answer.gateway.host_keys:
        raise BadAnswer("the portal's answer does not make sense: unknown state, or no host key of the gateway")
    return answer


def _text(value: Any) -> str:
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str) or len(text) > 8192 or not text.isprintable():
        raise ValueError("not a line of text")
    return text


def _port(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError("not a port")
    return value


def public_line(line: str) -> str:
    """`ALGORITHM BASE64`, without comment. ValueError when it is no public key."""
    key = asyncssh.import_public_key(line)
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])


def pin(known: Broker | None, answer: Answer, *, url: str, now: str) -> tuple[Broker, str | None]:
    """What to remember after this answer, and a warning where it disagrees with what was pinned.

    The gateway's host keys and the CA are taken from the first answer only; who could change them here could pose as
    the broker and then let themselves in. Later the gateway itself proves its new keys (`tunnel`), and the CA vouches
    for the one that follows. Name, port and address carry no trust and follow the portal.
    """
    if known is None:
        return _broker(answer, url, [answer.ca_public_key, _vouched_for(answer)], answer.gateway, now), None
    pinned = dataclasses.replace(answer.gateway, host_keys=known.gateway.host_keys)
    is_known = answer.ca_public_key in known.authorities
    authorities = known.authorities[known.authorities.index(answer.ca_public_key) :] if is_known else known.authorities
    if is_known and (coming := _vouched_for(answer)):
        authorities = [answer.ca_public_key, coming]
    broker = _broker(answer, url, authorities, pinned, known.pinned)
    if is_known and set(answer.gateway.host_keys) & set(known.gateway.host_keys):
        return broker, None
    return broker, f"the portal names other keys than those pinned on {known.pinned}; the pinned ones stay in force"


def _vouched_for(answer: Answer) -> str:
    """The line of the authority that the present one, of the same answer, has signed; empty where it has none."""
    if not answer.ca_endorsement:
        return ""
    try:
        certificate: Any = asyncssh.import_certificate(answer.ca_endorsement)
        signed_by = public_line(certificate.signing_key.export_public_key("openssh").decode("ascii"))
        certificate.validate(CERT_TYPE_HOST, ENDORSED)
    except (asyncssh.KeyImportError, ValueError, AttributeError):
        return ""
    if signed_by != answer.ca_public_key:
        return ""
    return public_line(certificate.key.export_public_key("openssh").decode("ascii"))


def _broker(answer: Answer, url: str, authorities: list[str], gateway: Gateway, pinned: str) -> Broker:
    return Broker(
        url=url,
        id=answer.id,
        name=answer.name,
        state=answer.state,
        tunnel_port=answer.tunnel_port,
        ca_public_key=authorities[0],
        gateway=gateway,
        pinned=pinned,
        next_ca_public_key=authorities[1] if len(authorities) > 1 else "",
    )
