"""What the agent was told: command line, environment and configuration file, in this order of precedence.

Knows nothing of what the settings are used for. Every mistake is a `UsageError` with one line for the person.
"""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
COMMANDS = ("run", "share", "doctor")
KEYS = frozenset({"broker", "token", "name", "login-shell", "forward", "state", "authorized-keys", "read-only"})
SWITCHES = frozenset({"login-shell", "read-only"})
HELP = "share: let others join a terminal that starts here; doctor: say what is wrong (default: run)"
OF_ONE_BROKER = ("broker", "token")
"""What a file with sections has in its sections only: one broker's token is not for another's eyes."""
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
    authorized_keys: Path | None = None
    """The machine's own list of people, where it has one."""
    read_only: bool = False
    """People only watch what the machine's user shares."""
    section: str = ""
    """Of the configuration file, where it has several brokers."""


@dataclass(frozen=True, slots=True)
class Orders:
    """One start of the program."""

    command: str
    never_die: bool
    """Try again even after what trying again may not help against."""
    agents: tuple[Config, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of argparse's usage block."""
        raise UsageError(message)


def read_orders(arguments: Sequence[str], environment: Mapping[str, str]) -> Orders:
    """What to do, from command line, environment and file. UsageError where they do not fit."""
    given = _parser().parse_args(arguments)
    home = Path(environment.get("HOME") or Path.home())
    line = _command_line(given)
    common, sections = _file_values(given.config, home)
    token = {"token": environment["BROKERD_TOKEN"]} if environment.get("BROKERD_TOKEN") else {}
    if not sections or "broker" in line:
        agents = [_settle(_layered(line, token, common), home)]
    else:
        _check_alone(line, token, common)
        agents = [_section(name, values, line, common, home) for name, values in sections.items()]
    return Orders(given.command, given.foreground, tuple(agents))


def _section(
    name: str, values: Mapping[str, str], line: Mapping[str, str], common: Mapping[str, str], home: Path
) -> Config:
    try:
        config = _settle(_layered(line, values, common), home)
    except UsageError as error:
        raise UsageError(f"[{name}]: {error}") from error
    return replace(config, section=name, state=config.state if "state" in values else config.state / name)


def _check_alone(line: Mapping[str, str], token: Mapping[str, str], common: Mapping[str, str]) -> None:
    """With several brokers, what is for one of them must stand with it."""
    for key in ("token", "name", "state"):
        if key in line:
            raise UsageError(f"--{key} is for one broker, and the configuration file has several: put it there")
    if token:
        raise UsageError("BROKERD_TOKEN is for one broker, and the configuration file has several: put it there")
    for key in OF_ONE_BROKER:
        if key in common:
            raise UsageError(f"{key} stands before the sections of the configuration file: put it into one")


def _layered(*layers: Mapping[str, str]) -> dict[str, str]:
    """The first layer that has a key gives it; a mode hides the modes of all layers after it."""
    values: dict[str, str] = {}
    for layer in layers:
        is_decided = bool(MODES & values.keys())
        for key, value in layer.items():
            if not (is_decided and key in MODES):
                values.setdefault(key, value)
    return values


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="brokerd-agent",
        description="Holds this machine's tunnel to its broker and lets people in through it.",
        epilog="The same names work as `key = value` lines in ~/.config/brokerd/agent.conf; the command line wins. "
        "Sections there, such as [work], hold the tunnels to several brokers at once.",
        allow_abbrev=False,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="run", help=HELP)
    parser.add_argument("--broker", metavar="URL", help="the broker's portal, https://...")
    parser.add_argument("--token", help="enrollment token; better in BROKERD_TOKEN, where other users cannot see it")
    parser.add_argument("--name", help="name of this host in the portal (default: the hostname)")
    parser.add_argument("--login-shell", action="store_true", help="serve a shell of this user, no sshd (default)")
    parser.add_argument("--forward", metavar="HOST:PORT", help="forward to an sshd instead, such as 127.0.0.1:22")
    parser.add_argument(
        "--authorized-keys", metavar="FILE", help="only people with a key in this file get in, by ssh -J"
    )
    parser.add_argument("--read-only", action="store_true", help="people only watch what this user shares")
    parser.add_argument("--state", metavar="DIR", help="keys and pins (default: ~/.local/state/brokerd-agent)")
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration file")
    parser.add_argument("-F", action="store_true", dest="foreground", help="stay in the foreground and never give up")
    return parser


def _command_line(given: argparse.Namespace) -> dict[str, str]:
    named = {key: getattr(given, key.replace("-", "_")) for key in KEYS - SWITCHES}
    values = {key: value for key, value in named.items() if value is not None}
    return values | {key: "yes" for key in SWITCHES if getattr(given, key.replace("-", "_"))}


Sections = dict[str, dict[str, str]]


def _file_values(path: Path | None, home: Path) -> tuple[dict[str, str], Sections]:
    default = home / ".config" / "brokerd" / "agent.conf"
    if path is None and not default.exists():
        return {}, {}
    source = path or default
    try:
        return parse_file(source.read_text(encoding="utf-8"), source=str(source))
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text") from error


def parse_file(text: str, *, source: str) -> tuple[dict[str, str], Sections]:
    """The `key = value` lines before the first `[section]`, and those of each section.

    Empty lines and lines that begin with `#` count for nothing.
    """
    common: dict[str, str] = {}
    values, sections = common, Sections()
    for number, line in enumerate(text.splitlines(), start=1):
        text = line.strip()
        try:
            if text.startswith("["):
                values = sections[_section_name(text, sections)] = {}
            elif text and not text.startswith("#"):
                key, value = _setting(text)
                if key in values:
                    raise UsageError(f"{key} is given twice")
                values[key] = value
        except UsageError as error:
            raise UsageError(f"{source}:{number}: {error}") from error
    return common, sections


def _section_name(line: str, sections: Sections) -> str:
    name = line.removeprefix("[").removesuffix("]").strip()
    if not line.endswith("]") or not NAME.fullmatch(name):
        raise UsageError("a section is a name in brackets: a-z, 0-9 and inner hyphens")
    if name in sections:
        raise UsageError(f"section {name} is there twice")
    return name


def _setting(line: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not value:
        raise UsageError("not a `key = value` line")
    if key not in KEYS:
        raise UsageError(f"unknown key {key!r}; known are {', '.join(sorted(KEYS))}")
    return key, value


def _settle(values: Mapping[str, str], home: Path) -> Config:
    forward = parse_target(values["forward"]) if "forward" in values else None
    if forward and _truth("login-shell", values):
        raise UsageError("login-shell and forward exclude each other: choose one")
    if forward and _truth("read-only", values):
        raise UsageError("read-only goes with login-shell only: behind forward, the sshd serves people")
    keys = values.get("authorized-keys")
    if forward and keys:
        raise UsageError("authorized-keys goes with login-shell only: behind forward, the sshd lets people in")
    state = values.get("state")
    return Config(
        broker=parse_broker(values.get("broker", "")),
        token=values.get("token"),
        name=parse_name(values["name"]) if "name" in values else name_from_hostname(socket.gethostname()),
        forward=forward,
        state=Path(state).expanduser() if state else home / ".local" / "state" / "brokerd-agent",
        read_only=_truth("read-only", values),
        authorized_keys=Path(keys).expanduser().absolute() if keys else None,
    )


def _truth(key: str, values: Mapping[str, str]) -> bool:
    value = values.get(key, "no")
    if value.lower() not in TRUTHS:
        raise UsageError(f"{key} is yes or no, not {value!r}")
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
