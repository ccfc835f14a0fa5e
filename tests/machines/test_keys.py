"""`tunnels.keys`: which keys are taken, and in which form."""

from __future__ import annotations

import asyncssh
import pytest

from tests.machines.helpers import key_line
from tunnels.keys import BadKey, parse_public_key

GOOD = {
    "ssh-ed25519": {},
    "ecdsa-sha2-nistp256": {},
    "ecdsa-sha2-nistp384": {},
    "ecdsa-sha2-nistp521": {},
    "ssh-rsa": {"key_size": 2048},
}


@pytest.mark.parametrize("algorithm", GOOD)
def test_good_keys_get_one_form(algorithm):
    line = key_line("good", algorithm, **GOOD[algorithm])
    bare = " ".join(line.split()[:2])
    for written in (bare, f"{bare} root@web1", f"  {bare}   a b c\n"):
        key = parse_public_key(written)
        assert (key.algorithm, key.line) == (algorithm, bare)
        assert key.fingerprint == asyncssh.import_public_key(bare).get_fingerprint()


ED25519 = key_line("good")
PRIVATE = {
    form: asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_private_key(form).decode()
    for form in ("openssh", "pkcs1-pem", "pkcs8-pem")
}


@pytest.mark.parametrize("form", PRIVATE)
def test_private_keys_are_refused_and_never_repeated(form):
    with pytest.raises(BadKey, match="private key") as refusal:
        parse_public_key(PRIVATE[form])
    assert PRIVATE[form].splitlines()[1] not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ALGORITHM BASE64"),
        ("ssh-ed25519", "ALGORITHM BASE64"),
        ("hello world", "unknown"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "unknown"),
        ("sk-ssh-ed25519@openssh.com AAAA", "unknown"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "unknown"),
        ("ssh-ed25519 !!!!", "damaged"),
        (ED25519[:40], "damaged"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa", 1), "damaged|match"),
        (f"command=x {ED25519}", "unknown"),
        (f"{ED25519}\n{ED25519}", "one line"),
        (f"{ED25519}\x00", "one line"),
        (f"{ED25519} Jörg", "one line"),
        ("ssh-rsa " + "A" * 9000, "too long"),
        (key_line("weak", "ssh-rsa", key_size=1024), "1024 bits"),
    ],
)
def test_bad_keys(text, why):
    with pytest.raises(BadKey, match=why):
        parse_public_key(text)
