"""What `ssh alice@broker` prints: the hosts that alice may reach, and the exact command for each."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from terminals.access import Capability
from terminals.models import Person
from terminals.presence import Presence, presence
from terminals.reachable import Right, reachable_hosts, rights_on
from tunnels.models import Host

MOST = 500
"""Hosts shown; the portal has a search."""
LOGGED_IN = frozenset({Capability.TERMINAL, Capability.EXEC, Capability.SFTP})


def listing(person: Person, *, address: str) -> str:
    """Lines of text, without control characters: what is shown was checked where it is stored."""
    hosts = list(reachable_hosts(person, address=address).with_presence().order_by("name")[: MOST + 1])
    if not hosts:
        return f"No grant gives {person.username} a host from here. Ask an admin for one.\n"
    rights = rights_on(person, hosts, address=address)
    blocks = [_block(host, rights[host.pk], person.username) for host in hosts[:MOST]]
    if len(hosts) > MOST:
        blocks.append(f"... and more: see {settings.BROKERD.portal_url}\n")
    return f"Hosts that {person.username} may reach:\n\n" + "\n".join(blocks)


def brokered_command(login: str, host: str) -> str:
    gateway = settings.BROKERD.gateway_address
    return f"ssh {_port(gateway.port)}{login}@{host}@{gateway.host}"


def jump_command(login: str, host: str, person: str) -> str:
    return f"ssh -J {jump_address(person)} {login}@{host}"


def jump_address(person: str) -> str:
    """As `-J` and `ProxyJump` take it: a port follows a colon, so an IPv6 address before it stands in brackets."""
    gateway = settings.BROKERD.gateway_address
    return f"{person}@{gateway.host if gateway.port == 22 else gateway}"


def _port(port: int) -> str:
    return "" if port == 22 else f"-p {port} "


def _block(host: Host, rights: Sequence[Right], person: str) -> str:
    lines = [f"{host.name}  {_state(presence(host))}"]
    for right in rights:
        if LOGGED_IN & set(right.capabilities):
            lines.append(f"    {brokered_command(right.login, host.name)}")
    for right in rights:
        if Capability.FORWARD in right.capabilities:
            lines.append(f"    {jump_command(right.login, host.name, person)}    (end to end)")
    return "\n".join(lines) + "\n"


def _state(now: Presence) -> str:
    if now.online:
        return "online"
    if now.last_seen is None:
        return "offline, never connected"
    return f"offline since {now.last_seen:%Y-%m-%d %H:%M} UTC: {now.offline_reason}"
