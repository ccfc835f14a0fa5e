"""The broker's own private keys: the certificate authority's and the gateway's. Files 0600, outside the database."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import asyncssh
from django.conf import settings

from tunnels.files import private_file
from tunnels.keys import describe


class DamagedKey(Exception):
    """A key file holds no key; the message says which and what to do."""


def _load(name: str) -> asyncssh.SSHKey:
    folder: Path = settings.BROKERD.data_dir / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    content = private_file(folder / name, _new_key)
    try:
        return asyncssh.import_private_key(content)
    except asyncssh.KeyImportError as error:
        raise DamagedKey(
            f"{folder / name} holds no private key; restore it from a backup (deleted, it is made anew, "
            "and machines will not know the new one)"
        ) from error


def _new_key() -> bytes:
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")


@lru_cache(maxsize=1)
def authority_key() -> asyncssh.SSHKey:
    """Signs the user certificates by which the broker logs in to hosts."""
    return _load("user_ca")


@lru_cache(maxsize=1)
def gateway_key() -> asyncssh.SSHKey:
    """The gateway's SSH host key."""
    return _load("gateway_host_key")


def authority_line() -> str:
    """The CA's public key line, for `TrustedUserCAKeys` and `cert-authority` lines."""
    return describe(authority_key()).line


def gateway_lines() -> list[str]:
    """Public key lines by which agents know the gateway."""
    return [describe(gateway_key()).line]
