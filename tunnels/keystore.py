"""The broker's own private keys: the certificate authority's and the gateway's. Files 0600, outside the database.

Each is one key, or two while it is replaced (`rotation`): the one in force, and the next one, which those who rely on
the first learn meanwhile. The files are looked at anew at each use, so a running broker knows at once.
"""

from __future__ import annotations

import os
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import asyncssh
from django.conf import settings

from tunnels.files import private_file
from tunnels.keys import describe


class Role(StrEnum):
    """What a key of the broker's is for; its value is the name on the command line."""

    AUTHORITY = "ca"
    GATEWAY = "gateway"


FILES = {Role.AUTHORITY: "user_ca", Role.GATEWAY: "gateway_host_key"}
NEXT = ".next"
ENDORSED = "brokerd-authority"
"""The principal of the certificate by which one authority names the next. A host certificate: it logs nobody in."""


class DamagedKey(Exception):
    """A key file holds no key; the message says which and what to do."""


def authority_key() -> asyncssh.SSHKey:
    """Signs the user certificates by which the broker logs in to hosts."""
    return _current(Role.AUTHORITY)


def gateway_key() -> asyncssh.SSHKey:
    """The gateway's SSH host key."""
    return _current(Role.GATEWAY)


def keys(role: Role) -> list[asyncssh.SSHKey]:
    """The one in force and, while it is replaced, the next one."""
    return [_current(role), *([coming] if (coming := next_key(role)) else [])]


def next_key(role: Role) -> asyncssh.SSHKey | None:
    path = _path(role, NEXT)
    return _read(path) if path.exists() else None


def make_next(role: Role) -> asyncssh.SSHKey:
    path = _path(role, NEXT)
    private_file(path, _new_key)
    return _read(path)


def put_next_in_force(role: Role) -> None:
    """The key that was in force is gone after this. FileNotFoundError where there is no next one."""
    _path(role, NEXT).replace(_path(role))
    descriptor = os.open(_path(role).parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def authority_line() -> str:
    """The CA's public key line, for `TrustedUserCAKeys` and `cert-authority` lines."""
    return describe(authority_key()).line


def authority_lines() -> list[str]:
    """All that a host should trust now: two while the authority is replaced."""
    return [describe(key).line for key in keys(Role.AUTHORITY)]


def gateway_lines() -> list[str]:
    """Public key lines by which agents know the gateway."""
    return [describe(key).line for key in keys(Role.GATEWAY)]


def endorsement() -> str:
    """The next authority's key with the signature of the present one, an OpenSSH certificate line; empty without one.

    Whoever trusts the one can trust the other by it, wherever it comes from.
    """
    coming = next_key(Role.AUTHORITY)
    if coming is None:
        return ""
    certificate = authority_key().generate_host_certificate(
        coming, ENDORSED, principals=[ENDORSED], valid_after="-1d", valid_before="+30d"
    )
    return " ".join(certificate.export_certificate("openssh").decode("ascii").split()[:2])


def _current(role: Role) -> asyncssh.SSHKey:
    path = _path(role)
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        private_file(path, _new_key)
    return _read(path)


def _path(role: Role, suffix: str = "") -> Path:
    folder: Path = settings.BROKERD.data_dir / "keys"
    return folder / f"{FILES[role]}{suffix}"


def _read(path: Path) -> asyncssh.SSHKey:
    found = path.stat()
    return _import(path, (found.st_ino, found.st_mtime_ns))


@lru_cache(maxsize=8)
def _import(path: Path, stamp: tuple[int, int]) -> asyncssh.SSHKey:
    """`stamp` tells one content of the file from another."""
    try:
        return asyncssh.import_private_key(path.read_bytes())
    except asyncssh.KeyImportError as error:
        raise DamagedKey(
            f"{path} holds no private key; restore it from a backup (deleted, it is made anew, "
            "and machines will not know the new one)"
        ) from error


def _new_key() -> bytes:
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")
