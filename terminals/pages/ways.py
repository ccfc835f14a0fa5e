"""How people reach hosts with an ssh client of their own: commands and lines to copy, with the broker's real addresses.

Only what a person's grants give is shown to them. Names, logins and keys are checked where they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings

from terminals.access import Capability
from terminals.models import Person
from terminals.pages.commands import Step, gateway_known_hosts
from terminals.reachable import Right, default_login, reachable_hosts, rights_on
from terminals.ssh.listing import brokered_command, jump_address, jump_command
from tunnels.models import Host


def from_here(person: Person, *, address: str) -> list[Step]:
    """What goes for all hosts, with the first host that allows it for an example."""
    hosts = list(reachable_hosts(person, address=address).prefetch_related("tags").order_by("name"))
    rights = rights_on(person, hosts, address=address)
    steps = [Step("List the hosts that you may reach, and how", _ssh(f"{person.username}@{_gateway().host}"))]
    steps += _first(_brokered(host, rights[host.pk])[:1] for host in hosts)
    steps += _first(_end_to_end(host, rights[host.pk], person)[:1] for host in hosts)
    steps.append(Step("Know this gateway by its key: for ~/.ssh/known_hosts", "\n".join(gateway_known_hosts())))
    steps.append(Step("Call the broker “proxy”: for ~/.ssh/config", proxy_config(person)))
    return steps


def to_host(person: Person, host: Host, rights: Sequence[Right]) -> list[Step]:
    """What goes for one host, by the person's `rights` on it."""
    return _brokered(host, rights) + _end_to_end(host, rights, person)


def proxy_config(person: Person) -> str:
    return _block("proxy", User=person.username, Hostname=_gateway().host, Port=str(_gateway().port))


def host_config(person: Person, host: Host, login: str) -> str:
    return _block(host.name, HostName=host.name, User=login, ProxyJump=jump_address(person.username))


def _brokered(host: Host, rights: Sequence[Right]) -> list[Step]:
    """The broker logs in for the person."""
    steps = []
    if login := default_login(host, rights, Capability.TERMINAL):
        steps.append(Step(f"A shell on {host.name}; the broker logs in for you", brokered_command(login, host.name)))
    elif login := default_login(host, rights, Capability.EXEC):
        command = f"{brokered_command(login, host.name)} uptime"
        steps.append(Step(f"A command on {host.name}; the broker logs in for you", command))
    if login := default_login(host, rights, Capability.SFTP):
        steps.append(Step(f"Files of {host.name}", _ssh(f"{login}@{host.name}@{_gateway().host}", "sftp", "-P")))
    return steps


def _end_to_end(host: Host, rights: Sequence[Right], person: Person) -> list[Step]:
    """The person logs in by themself, with what the host asks for."""
    if not (login := default_login(host, rights, Capability.FORWARD)):
        return []
    command = jump_command(login, host.name, person.username)
    steps = [
        Step(f"End to end: you log in to {host.name} by yourself, and the broker cannot read along", command),
        Step("The same for scp, rsync, git and Ansible: for ~/.ssh/config", host_config(person, host, login)),
    ]
    if host.host_keys:
        known = "\n".join(f"{host.name} {line}" for line in host.host_keys)
        steps.append(Step(f"Know {host.name} by its own keys: for ~/.ssh/known_hosts", known))
    return steps


def _first(found: Iterable[list[Step]]) -> list[Step]:
    return next(filter(None, found), [])


def _gateway() -> Any:
    return settings.BROKERD.gateway_address


def _ssh(target: str, program: str = "ssh", port_option: str = "-p") -> str:
    port = _gateway().port
    return f"{program} {target}" if port == 22 else f"{program} {port_option} {port} {target}"


def _block(name: str, **options: str) -> str:
    return "\n".join([f"Host {name}", *(f"    {option} {value}" for option, value in options.items())])
