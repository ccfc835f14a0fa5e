"""Public keys as machines and people hand them in: parsed, judged and put into one form. Knows no Django.

Accepted: `ssh-ed25519`, `ecdsa-sha2-nistp256/384/521`, `ssh-rsa` of at least 2048 bits. Anything that looks like a
private key is refused with a message that says so and never repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncssh

MAX_KEY_LINE = 8192
MIN_RSA_BITS = 2048
ALGORITHMS = frozenset({"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"})


class BadKey(ValueError):
    """The text is not a key that we take; the message may be shown to whoever sent it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key in its one form."""

    algorithm: str
    line: str
    """`ALGORITHM BASE64`, without comment."""
    fingerprint: str
    """`SHA256:...` as OpenSSH prints it."""


def parse_public_key(text: str) -> PublicKey:
    """The key in one OpenSSH public key line (`ALGORITHM BASE64 [COMMENT]`). BadKey says what is wrong with it."""
    if "PRIVATE KEY" in text:
        raise BadKey("this is a private key: send the .pub file, and replace the key if this one left your machine")
    line = text.strip()
    if len(line) > MAX_KEY_LINE:
        raise BadKey("the key is too long")
    if not line.isprintable() or not line.isascii():
        raise BadKey("a public key is one line of plain text")
    fields = line.split()
    if len(fields) < 2:
        raise BadKey("a public key line is ALGORITHM BASE64 [COMMENT]")
    if fields[0] not in ALGORITHMS:
        raise BadKey(f"unknown or unsupported key type {fields[0][:40]}; use ssh-ed25519")
    return _import(fields[0], f"{fields[0]} {fields[1]}")


def _import(algorithm: str, line: str) -> PublicKey:
    try:
        key = asyncssh.import_public_key(line)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise BadKey("the key cannot be read: it is damaged or cut short") from error
    if key.get_algorithm() != algorithm:
        raise BadKey("the key's type does not match its content")
    if algorithm == "ssh-rsa" and (bits := rsa_bits(key)) < MIN_RSA_BITS:
        raise BadKey(f"an RSA key of {bits} bits is too weak; use ssh-ed25519, or RSA of at least {MIN_RSA_BITS} bits")
    return describe(key)


def describe(key: asyncssh.SSHKey) -> PublicKey:
    """The one form of a key that AsyncSSH has parsed."""
    line = key.export_public_key("openssh").decode("ascii").split()
    return PublicKey(line[0], f"{line[0]} {line[1]}", key.get_fingerprint())


def rsa_bits(key: asyncssh.SSHKey) -> int:
    return int(getattr(key.pyca_key, "key_size", 0))
