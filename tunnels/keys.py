"""Public keys as machines and people hand them in: parsed, judged and put into one form. Knows no Django.

Accepted: `ssh-ed25519`, `ecdsa-sha2-nistp256/384/521`, `ssh-rsa` of at least 2048 bits, and of people the keys that
live in a FIDO security key. Anything that looks like a private key is refused with a message that says so and never
repeats it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import asyncssh

from tunnels.text import printable

MAX_KEY_LINE = 8192
MAX_COMMENT = 100
MIN_RSA_BITS = 2048
ED25519_BITS = 256
ALGORITHMS = frozenset({"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"})
SECURITY_KEY = "sk-"
"""How the algorithms of keys begin that live in a FIDO security key, which somebody has to touch for each signature."""
SECURITY_KEYS = frozenset({"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"})
"""For people only: nobody is there to touch the key of a machine."""

_DAMAGED = "the key cannot be read: it is damaged or cut short"
_PRIVATE = ("PRIVATE KEY", "PuTTY-User-Key-File", "Private-Lines")
_TYPE_NAME = re.compile(r"[a-z0-9@.-]{1,64}")
"""What may be repeated to whoever sent it: no part of a key looks like this, being in Base64."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
"""Checked by ourselves: AsyncSSH skips characters that do not belong there."""


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
    bits: int
    """As `ssh-keygen -l` counts them: of the modulus or the curve."""
    comment: str = field(default="", compare=False)
    """What followed the key, safe to show; no part of it."""


def parse_public_key(text: str, algorithms: frozenset[str] = ALGORITHMS) -> PublicKey:
    """The key in one OpenSSH public key line (`ALGORITHM BASE64 [COMMENT]`). BadKey says what is wrong with it."""
    if is_private(text):
        raise BadKey("this is a private key: send the .pub file, and replace the key if this one left your machine")
    line = text.strip()
    if len(line) > MAX_KEY_LINE:
        raise BadKey("the key is too long")
    if len(line.splitlines()) > 1:
        raise BadKey("a public key is one line of text; send one key at a time")
    fields = line.split(maxsplit=2)
    if len(fields) < 2:
        raise BadKey("a public key line is ALGORITHM BASE64 [COMMENT]")
    if fields[0] not in algorithms:
        raise BadKey(_not_an_algorithm(line))
    if not _BASE64.fullmatch(fields[1]):
        raise BadKey(_DAMAGED)
    comment = printable(fields[2], MAX_COMMENT) if len(fields) == 3 else ""
    return _import(fields[0], f"{fields[0]} {fields[1]}", comment)


def is_private(text: str) -> bool:
    """Whether it looks like a private key, which must not be shown again to anybody, its sender included."""
    return any(mark in text for mark in _PRIVATE)


def describe(key: asyncssh.SSHKey, comment: str = "") -> PublicKey:
    """The one form of a key that AsyncSSH has parsed."""
    algorithm, base64 = key.export_public_key("openssh").decode("ascii").split()[:2]
    return PublicKey(algorithm, f"{algorithm} {base64}", key.get_fingerprint(), key_bits(key), comment)


def key_bits(key: asyncssh.SSHKey) -> int:
    return int(getattr(key.pyca_key, "key_size", ED25519_BITS))


def _import(algorithm: str, line: str, comment: str) -> PublicKey:
    try:
        key = asyncssh.import_public_key(line)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise BadKey(_DAMAGED) from error
    if key.get_algorithm() != algorithm:
        raise BadKey("the key's type does not match its content")
    if algorithm == "ssh-rsa" and (bits := key_bits(key)) < MIN_RSA_BITS:
        raise BadKey(f"an RSA key of {bits} bits is too weak; use ssh-ed25519, or RSA of at least {MIN_RSA_BITS} bits")
    return describe(key, comment)


def _not_an_algorithm(line: str) -> str:
    first = line.split()[0]
    if first in SECURITY_KEYS:
        return "a security key has to be touched each time, and nobody is there: use ssh-ed25519"
    if "-cert-v" in first and _TYPE_NAME.fullmatch(first):
        return "this is a certificate; send the public key that it was made for"
    if not ALGORITHMS.isdisjoint(line.split()[1:]):
        return "there is something before the key: options are not taken, leave them out"
    named = f" {first}" if _TYPE_NAME.fullmatch(first) else ""
    return f"unknown or unsupported key type{named}; use ssh-ed25519"
