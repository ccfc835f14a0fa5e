"""Who may hold which tunnel, and what enrollment takes: data in, decision with a reason out. No ORM or clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from tunnels.text import is_printable

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LOGIN = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?", re.IGNORECASE)
TAG_KEY = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
RESERVED_NAMES = frozenset({"localhost"})
MAX_HOST_KEYS = 10


def is_host_name(text: str) -> bool:
    """A DNS label in lower case. `localhost` is reserved: people's ssh clients use it for tunnel ports."""
    return bool(NAME.fullmatch(text)) and text not in RESERVED_NAMES


def is_login(text: str) -> bool:
    """An account name as Linux and the BSDs take it."""
    return bool(LOGIN.fullmatch(text))


def is_tag(key: str, value: str) -> bool:
    return bool(TAG_KEY.fullmatch(key)) and 0 < len(value) <= 128 and is_printable(value)


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What decides whether an enrollment token still opens the door."""

    host_name: str
    uses_left: int
    expires_at: datetime
    revoked: bool


def refuse_token(token: TokenFacts | None, *, name: str, now: datetime) -> str | None:
    """Why this token does not let `name` enroll, for the audit; None when it does. The caller is told no reason."""
    if token is None:
        return "unknown token"
    if token.revoked:
        return "token revoked"
    if now >= token.expires_at:
        return "token expired"
    if token.uses_left < 1:
        return "token used up"
    if token.host_name and token.host_name != name:
        return f"token is for {token.host_name}"
    return None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What decides about an agent's requests: the host that its key belongs to."""

    name: str
    state: str
    tunnel_port: int


def refuse_agent(agent: AgentFacts) -> str | None:
    """Why a connection that proved possession of this host's key is turned away; None when it may stay.

    The name that it gave does not matter: the key says who connects, and a host that was renamed must not be stranded.
    """
    if agent.state == "pending":
        return f"enrollment of {agent.name} is waiting for approval"
    if agent.state != "approved":
        return f"enrollment of {agent.name} was {agent.state}"
    return None


def refuse_listen(agent: AgentFacts, *, host: str, port: int, held: bool) -> str | None:
    """Why a remote forward (`-R`) is refused; None when it is granted.

    `host` is the bind address as asked for: the names of loopback, or empty (all), which OpenSSH sends for plain `-R`
    with GatewayPorts; nothing is bound either way. `held` tells whether this connection has a forward already.
    """
    if held:
        return "one remote forward per connection"
    if port not in (0, agent.tunnel_port):
        return f"tunnel port {port} is not the one of {agent.name} ({agent.tunnel_port}); use -R 0:... or that number"
    if host not in ("", "localhost", "127.0.0.1", "::1", "*"):
        return f"bind address {host[:64]!r} is not localhost"
    return None
