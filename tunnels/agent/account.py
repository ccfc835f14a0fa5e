"""The account that the agent runs as: the one login that it lets people in for, and the environment of its programs."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin"
PASSED_ON = re.compile(rb"LANG|LC_[A-Z0-9_]{1,32}|TERM")
MAX_VALUE = 256


class NoAccount(Exception):
    """The user id has no usable account; the message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    home: str
    shell: str
    is_root: bool

    @property
    def directory(self) -> str:
        """Where programs start: the home, or `/` where it cannot be entered."""
        return self.home if os.access(self.home, os.X_OK) and Path(self.home).is_dir() else "/"

    def environment(self, asked: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """A program's whole environment: the account's, and of what the client asked for only language and terminal."""
        own = {
            "HOME": self.home,
            "USER": self.login,
            "LOGNAME": self.login,
            "SHELL": self.shell,
            "PATH": ROOT_PATH if self.is_root else USER_PATH,
        }
        if zone := os.environ.get("TZ"):
            own["TZ"] = zone
        taken = {key: value for key, value in asked.items() if may_pass(key, value)}
        return taken | {os.fsencode(key): os.fsencode(value) for key, value in own.items()}

    def has_program(self, name: str) -> bool:
        """Whether its shell would find this program."""
        return shutil.which(name, path=os.fsdecode(self.environment({})[b"PATH"])) is not None


def may_pass(key: bytes, value: bytes) -> bool:
    """Whether a client may set this variable. Anything else could load code into the shell."""
    return bool(PASSED_ON.fullmatch(key)) and len(value) <= MAX_VALUE and b"\0" not in value


def own_account() -> Account:
    """NoAccount when the user id has no entry in the user database."""
    user = os.getuid()
    try:
        entry = pwd.getpwuid(user)
    except KeyError as error:
        raise NoAccount(f"user id {user} has no account on this machine") from error
    if not LOGIN.fullmatch(entry.pw_name):
        raise NoAccount(f"account name {entry.pw_name!r} has characters that a login must not have")
    shell = entry.pw_shell if os.access(entry.pw_shell, os.X_OK) else "/bin/sh"
    return Account(entry.pw_name, entry.pw_dir or "/", shell, is_root=user == 0)
