"""`--authorized-keys FILE`: the machine's own list of people, which the broker cannot add to.

A brokered login shows a certificate that the broker made, and the broker could put any name on it. So while a list is
in force those certificates open nothing; a person proves to this machine, end to end (`ssh -J`), that they have the
private key of a line in the file. The file is sshd's: owned by its user or root, writable by nobody else, read anew at
every login. A line with an option that cannot be kept is left out, and said so, rather than taken without it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import asyncssh

MAX_FILE = 1024 * 1024
NEVER_GIVEN = ("port-forwarding", "x11-forwarding", "agent-forwarding", "user-rc")
"""What sshd's lines allow or deny and this server has for nobody: naming it changes nothing."""
HARMLESS = frozenset({*NEVER_GIVEN, *(f"no-{name}" for name in NEVER_GIVEN), "permitopen", "permitlisten", "tunnel"})
KEPT = frozenset({"command", "no-pty", "cert-authority", "principals", "no-touch-required"})
NAME_OPTION = "brokerd-name"
OUR_OWN = frozenset({"restrict", "pty", "expiry-time"})
"""That AsyncSSH does not know, and would take without keeping."""


class BadList(Exception):
    """The file cannot be used at all; the message says why. Nobody gets in then."""


class BadLine(ValueError):
    """A line cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """The file at `path`, for `login`. Keys that equal `broker_authority` (an OpenSSH line) are not taken from it."""

    path: Path
    login: str
    broker_authority: str
    warn: Callable[[str], None]

    def read(self, now: datetime) -> asyncssh.SSHAuthorizedKeys | None:
        """Who may log in at this moment; None for nobody. What is wrong is told to `warn`."""
        try:
            lines = list(self._usable(read_list(self.path), now))
        except BadList as error:
            self.warn(f"{error}; nobody gets in")
            return None
        return asyncssh.import_authorized_keys("\n".join(lines)) if lines else None

    def _usable(self, text: str, now: datetime) -> Iterator[str]:
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                if found := usable_line(line, self.login, self.broker_authority, now):
                    yield named(found)
            except BadLine as error:
                self.warn(f"{self.path}:{number}: {error}; the line is left out")


def read_list(path: Path) -> str:
    """The text of a file that nobody but its user and root can have written. BadList otherwise."""
    try:
        real = path.resolve(strict=True)
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            check_owner(real, os.fstat(descriptor))
            for folder in real.parents:
                check_owner(folder, folder.stat())
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BadList(f"cannot read the list of keys {path}: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise BadList(f"the list of keys {path} is larger than {MAX_FILE} bytes")
    return content.decode("utf-8", "replace")


def check_owner(path: Path, found: os.stat_result) -> None:
    """As sshd's StrictModes; a folder with the sticky bit may be open to all, for there nobody replaces our file."""
    is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise BadList(f"the list of keys {path} is no file")
    if found.st_uid not in (0, os.geteuid()):
        raise BadList(f"{path} belongs to another user")
    if found.st_mode & 0o022 and not is_sticky:
        raise BadList(f"{path} can be written by others: chmod go-w {path}")


def usable_line(line: str, login: str, broker_authority: str, now: datetime) -> str | None:
    """The line in the form that AsyncSSH keeps; None once it has expired. BadLine where it cannot be kept."""
    options, key = split_line(line)
    if " ".join(key.export_public_key("openssh").decode("ascii").split()[:2]) == broker_authority:
        raise BadLine("that is the key of the broker, which this list is there to keep out")
    names = [name for name, _ in options]
    for name in names:
        if name == "from":
            raise BadLine("`from` cannot be checked here: addresses are what the broker says")
        if name not in HARMLESS | KEPT | OUR_OWN:
            raise BadLine(f"the option `{name}` is not known here")
    if any(is_past(value, now) for name, value in options if name == "expiry-time"):
        return None
    taken = [f'{name}="{quoted(value)}"' if value else name for name, value in options if name in KEPT]
    if "restrict" in names and "pty" not in names:
        taken.append("no-pty")
    if "cert-authority" in names and "principals" not in names:
        taken.append(f'principals="{login}"')  # without it AsyncSSH takes a certificate for nobody as one for all
    return f"{','.join(taken)} {key.export_public_key('openssh').decode('ascii')}".strip()


def named(line: str) -> str:
    """With the key's comment as an option of ours, which comes back with the login: a key alone has no name."""
    *_, comment = (line if is_plain(line) else split_options(line)[1]).strip().split(maxsplit=2)
    separator = " " if is_plain(line) else ","
    return f'{NAME_OPTION}="{quoted(comment)}"{separator}{line}'


def is_plain(line: str) -> bool:
    """Whether a line has no options."""
    return public_key(line) is not None


def quoted(value: str) -> str:
    """For AsyncSSH, where a backslash escapes whatever follows."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def split_line(line: str) -> tuple[list[tuple[str, str]], asyncssh.SSHKey]:
    """The options of a line, by lower-case name, and its key. BadLine where there is none."""
    if (key := public_key(line)) is not None:
        return [], key
    options, rest = split_options(line.strip())
    key = public_key(rest)
    if key is None:
        raise BadLine("no public key")
    return [(name.strip().lower(), value) for name, _, value in (option.partition("=") for option in options)], key


def split_options(line: str) -> tuple[list[str], str]:
    """Cut at the commas outside of quotes, up to the first blank outside; and the rest. sshd escapes quotes alone."""
    parts, is_quoted, at = [""], False, 0
    while at < len(line) and (is_quoted or line[at] not in " \t"):
        if line.startswith('\\"', at):
            parts[-1] += '"'
            at += 1
        elif line[at] == '"':
            is_quoted = not is_quoted
        elif line[at] == "," and not is_quoted:
            parts.append("")
        else:
            parts[-1] += line[at]
        at += 1
    return parts, line[at:]


def public_key(text: str) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(text.strip())
    except (asyncssh.KeyImportError, ValueError):
        return None


def is_past(text: str, now: datetime) -> bool:
    """sshd's YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z], local time without the Z. What cannot be read is past."""
    digits = text.removesuffix("Z")
    zone: tzinfo | None = UTC if text.endswith("Z") else now.astimezone().tzinfo
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    try:
        return form is None or datetime.strptime(digits, form).replace(tzinfo=zone) <= now
    except ValueError:
        return True
