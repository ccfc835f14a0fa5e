"""What the agent was told: command line, environment and configuration file, in this order of precedence.

Knows nothing of what the settings are used for. Every mistake is a `UsageError` with one line for the person.
"""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
KEYS = frozenset({"broker", "token", "name", "login-shell", "forward", "state"})
MODES = frozenset({"login-shell", "forward"})
TRUTHS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


class UsageError(Exception):
    """The arguments or the configuration file do not fit; the message is one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """The TCP address of the sshd that connections are forwarded to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one agent. `forward` is None where it serves a login shell."""

    broker: str
    """URL of the portal, without trailing slash."""
    token: str | None
    name: str
    forward: Target | None
    state: Path


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of argparse's usage block."""
        raise UsageError(message)


def read_config(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The settings from command line, environment and file. UsageError where they do not fit."""
    given = _parser().parse_args(arguments)
    home = Path(environment.get("HOME") or Path.home())
    values = _command_line(given)
    if token := environment.get("BROKERD_TOKEN"):
        values.setdefault("token", token)
    for key, value in _file_values(given.config, home).items():
        if key not in MODES or not (MODES & _command_line(given).keys()):
            values.setdefault(key, value)
    return _settle(values, home)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="brokerd-agent",
        description="Holds this machine's tunnel to its broker and lets people in through it.",
        epilog="The same names work as `key = value` lines in ~/.config/brokerd/agent.conf; the command line wins.",
        allow_abbrev=False,
    )
    parser.add_argument("--broker", metavar="URL", help="the broker's portal, https://...")
    parser.add_argument("--token", help="enrollment token; better in BROKERD_TOKEN, where other users cannot see it")
    parser.add_argument("--name", help="name of this host in the portal (default: the hostname)")
    parser.add_argument("--login-shell", action="store_true", help="serve a shell of this user, no sshd (default)")
    parser.add_argument("--forward", metavar="HOST:PORT", help="forward to an sshd instead, such as 127.0.0.1:22")
    parser.add_argument("--state", metavar="DIR", help="keys and pins (default: ~/.local/state/brokerd-agent)")
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration file")
    parser.add_argument("-F", action="store_true", dest="foreground", help="stay in the foreground (the default)")
    return parser


def _command_line(given: argparse.Namespace) -> dict[str, str]:
    named = {key: getattr(given, key) for key in ("broker", "token", "name", "forward", "state")}
    values = {key: value for key, value in named.items() if value is not None}
    if given.login_shell:
        values["login-shell"] = "yes"
    return values


def _file_values(path: Path | None, home: Path) -> dict[str, str]:
    default = home / ".config" / "brokerd" / "agent.conf"
    if path is None and not default.exists():
        return {}
    source = path or default
    try:
        return parse_file(source.read_text(encoding="utf-8"), source=str(source))
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text") from error


def parse_file(text: str, *, source: str) -> dict[str, str]:
    """The `key = value` lines of a configuration file. Empty lines and lines that begin with `#` count for nothing."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not value:
            raise UsageError(f"{source}:{number}: not a `key = value` line")
        if key not in KEYS:
            raise UsageError(f"{source}:{number}: unknown key {key!r}; known are {', '.join(sorted(KEYS))}")
        if key in values:
            raise UsageError(f"{source}:{number}: {key} is given twice")
        values[key] = value
    return values


def _settle(values: Mapping[str, str], home: Path) -> Config:
    forward = parse_target(values["forward"]) if "forward" in values else None
    if forward and _truth(values.get("login-shell", "no")):
        raise UsageError("login-shell and forward exclude each other: choose one")
    state = values.get("state")
    return Config(
        broker=parse_broker(values.get("broker", "")),
        token=values.get("token"),
        name=parse_name(values["name"]) if "name" in values else name_from_hostname(socket.gethostname()),
        forward=forward,
        state=Path(state).expanduser() if state else home / ".local" / "state" / "brokerd-agent",
    )


def _truth(value: str) -> bool:
    if value.lower() not in TRUTHS:
        raise UsageError(f"login-shell is yes or no, not {value!r}")
    return TRUTHS[value.lower()]


def parse_broker(text: str) -> str:
    """The portal's URL in its one form."""
    if not text:
        raise UsageError("no broker given: use --broker https://...")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError as error:
        raise UsageError(f"broker {text!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError(f"broker {text!r} is not an http(s) URL")
    if url.query or url.fragment or "@" in url.netloc:
        raise UsageError("broker is a plain URL, without user, query or fragment")
    return text.rstrip("/")


def parse_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise UsageError(f"name {text!r} is not a DNS label: a-z, 0-9 and inner hyphens, 63 characters at most")
    return text


def parse_target(text: str) -> Target:
    """`HOST:PORT` or `[IPV6]:PORT`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"forward {text!r} is not HOST:PORT")
    return Target(host, int(port))


def name_from_hostname(hostname: str) -> str:
    """The first label of the hostname in the form that the broker takes."""
    label = re.sub(r"[^a-z0-9-]+", "-", hostname.split(".")[0].lower())[:63].strip("-")
    if not label or label == "localhost":
        raise UsageError(f"no host name can be made from the hostname {hostname!r}: give one with --name")
    return label
