"""What a person asks for by the SSH username: `alice`, `root@web1` or `alice/web1`. Pure.

The key says who connects; the username only says what for. Where it names a person, that must be the key's.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunnels.rules import is_host_name, is_login


class BadTarget(ValueError):
    """The username asks for nothing that we know; the message is for the person."""


@dataclass(frozen=True, slots=True)
class Portal:
    """`alice`: the list of hosts, and the way to them end to end."""


@dataclass(frozen=True, slots=True)
class Brokered:
    """`root@web1`, or `alice/web1` with the host's default login: the broker logs in for the person."""

    host: str
    login: str | None


Target = Portal | Brokered


def parse(username: str, *, person: str) -> Target:
    """The target of `person`'s connection. BadTarget says what would be right."""
    if username == person:
        return Portal()
    login, at, host = username.rpartition("@")
    if at:
        return _brokered(host, login)
    owner, slash, host = username.partition("/")
    if slash and owner == person:
        return _brokered(host, None)
    # Whether that is a name of somebody here is nobody's business.
    raise BadTarget(f"this key is {person}'s: use {person}@..., LOGIN@HOST@... or {person}/HOST@...")


def _brokered(host: str, login: str | None) -> Brokered:
    if not is_host_name(host):
        raise BadTarget("the host's name is lower-case letters, digits and dashes, such as root@web1@...")
    if login is not None and not is_login(login):
        raise BadTarget("this is no login such as root")
    return Brokered(host, login)
