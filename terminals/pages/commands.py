"""Commands to copy, with this broker's real addresses. Text for a POSIX shell; knows no request.

Names and logins are checked where they are stored, secrets are URL-safe: nothing here needs quoting twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from tunnels import keystore
from tunnels.models import Host

KEY_FILE = "~/.ssh/brokerd"


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    command: str


def agent(*, token: str = "", name: str = "") -> str:
    """Run `brokerd-agent`, which needs no sshd and no root."""
    options = [f"--broker {settings.BROKERD.portal_url}"]
    options += [f"--token {token}"] if token else []
    options += [f"--name {name}"] if name else []
    return f"brokerd-agent {' '.join(options)}"


def pairing() -> str:
    """Enroll and hold the tunnel in one go, where open enrollment is on: with any key that belongs to nobody here."""
    gateway = settings.BROKERD.gateway_address
    return f'ssh -N -R 0:localhost:22 -p {gateway.port} "$(hostname -s | tr A-Z a-z)@{gateway.host}"'


def install(*, token: str = "", name: str = "") -> str:
    """Run `/install.sh`. The token goes by the environment: arguments are seen by every user of the machine."""
    secret = f"BROKERD_TOKEN={token} " if token else ""
    options = f" -s -- --name {name}" if name else ""
    return f"curl -fsS {settings.BROKERD.portal_url}/install.sh | {secret}sh{options}"


def stock_ssh(*, token: str = "", name: str = "") -> list[Step]:
    """Enroll over REST and hold the tunnel with nothing but the OpenSSH client."""
    shown = name or '"$name"'
    return [
        Step("Make a key for the tunnel", f"ssh-keygen -q -t ed25519 -N '' -f {KEY_FILE}"),
        Step("Ask to enroll", _request(token=token, name=name)),
        Step("Know the gateway by its key", known_gateway()),
        Step("Let the broker's certificates in, as the account that runs this", trust()),
        Step("After approval, hold the tunnel", tunnel(shown)),
    ]


def tunnel(name: str, port: int = 0) -> str:
    gateway = settings.BROKERD.gateway_address
    return (
        f"ssh -N -R {port}:localhost:22 -p {gateway.port} -i {KEY_FILE} "
        f"-o ExitOnForwardFailure=yes -o ServerAliveInterval=10 {name}@{gateway.host}"
    )


def known_gateway() -> str:
    lines = "\\n".join(gateway_known_hosts())
    return f"printf '{lines}\\n' >> ~/.ssh/known_hosts"


def gateway_known_hosts() -> list[str]:
    """Lines of a `known_hosts` file; OpenSSH looks for the port only where it is not 22."""
    gateway = settings.BROKERD.gateway_address
    known_as = gateway.host if gateway.port == 22 else f"[{gateway.host}]:{gateway.port}"
    return [f"{known_as} {line}" for line in keystore.gateway_lines()]


def trust() -> str:
    lines = "\\n".join(f"cert-authority {line}" for line in keystore.authority_lines())
    return f"printf '{lines}\\n' >> ~/.ssh/authorized_keys"


def for_host(host: Host) -> list[Step]:
    """What keeps the tunnel of an approved host."""
    return [
        Step("Hold its tunnel with the stock ssh client", tunnel(host.name, host.tunnel_port)),
        Step("Or with the agent", agent(name=host.name)),
    ]


def _request(*, token: str, name: str) -> str:
    host_keys = """cat /etc/ssh/ssh_host_[er]*_key.pub | awk '{printf "%s\\"%s %s\\"", s, $1, $2; s=", "}'"""
    secret = f' "token": "{token}",' if token else ""
    lines = [] if name else ["name=$(hostname -s | tr A-Z a-z)"]
    lines += [
        f"curl -fsS {settings.BROKERD.portal_url}/api/v1/enrollments -H 'Content-Type: application/json' -d @- <<END",
        f'{{"name": "{name or "$name"}", "login": "$(id -un)",{secret}',
        f' "public_key": "$(cat {KEY_FILE}.pub)",',
        f' "host_keys": [$({host_keys})]}}',
        "END",
    ]
    return "\n".join(lines)
