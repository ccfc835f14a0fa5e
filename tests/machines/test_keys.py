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


COMMENTS = {
    "KEY": "",
    "KEY root@web1": "root@web1",
    "  KEY   a b  c\n": "a b  c",
    "KEY\tJörg’s laptop": "Jörg’s laptop",
    "KEY \x1b[31mred \u202etfel\x00": "<U+001B>[31mred <U+202E>tfel<U+0000>",
    "KEY " + "x" * 101: "x" * 99 + "…",
}


@pytest.mark.parametrize("algorithm", GOOD)
def test_good_keys_get_one_form(algorithm):
    line = key_line("good", algorithm, **GOOD[algorithm])
    bare = " ".join(line.split()[:2])
    bits = {"ssh-rsa": 2048, "ssh-ed25519": 256}.get(algorithm) or int(algorithm[-3:])
    for written, comment in COMMENTS.items():
        key = parse_public_key(written.replace("KEY", bare))
        assert (key.algorithm, key.line, key.bits, key.comment) == (algorithm, bare, bits, comment)
        assert key.fingerprint == asyncssh.import_public_key(bare).get_fingerprint()
        assert key == parse_public_key(bare), "a comment is no part of the key"


ED25519 = key_line("good")
RSA = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
PRIVATE = {form: RSA.export_private_key(form).decode() for form in ("openssh", "pkcs1-pem", "pkcs8-pem")}
PRIVATE["putty"] = "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAAIHsecret\n"
PRIVATE["on one line"] = PRIVATE["openssh"].replace("\n", " ")


@pytest.mark.parametrize("form", PRIVATE)
def test_private_keys_are_refused_and_never_repeated(form):
    with pytest.raises(BadKey, match="private key") as refusal:
        parse_public_key(PRIVATE[form])
    assert not any(word in str(refusal.value) for word in PRIVATE[form].split() if len(word) > 9)


@pytest.mark.parametrize("wrap", [0, 1])
def test_a_private_key_without_its_first_line_is_not_repeated_either(wrap):
    inside = PRIVATE["openssh"].splitlines()[1:-1]
    text = "\n".join(inside) if wrap else " ".join(inside)
    with pytest.raises(BadKey) as refusal:
        parse_public_key(text)
    assert not any(line[:20] in str(refusal.value) for line in inside)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ALGORITHM BASE64"),
        ("ssh-ed25519", "ALGORITHM BASE64"),
        ("hello world", "unknown"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "unknown"),
        ("sk-ssh-ed25519@openssh.com AAAA", "touched"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
        ("ssh-ed25519 !!!!", "damaged"),
        (ED25519[:40], "damaged"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa", 1), "damaged|match"),
        (f"command=x {ED25519}", "options are not taken"),
        (f'command="a b",no-pty {ED25519}', "options are not taken"),
        (f"cert-authority {ED25519}", "options are not taken"),
        (f"{ED25519}\n{ED25519}", "one line"),
        (f"{ED25519}\u2028{ED25519}", "one line"),
        (f"{ED25519}\x00", "damaged"),
        (ED25519.replace("AAAA", "АААА"), "damaged"),
        ("\x1b[31m AAAA", "key type; use"),
        ("ssh-rsa " + "A" * 9000, "too long"),
        (key_line("weak", "ssh-rsa", key_size=1024), "1024 bits"),
    ],
)
def test_bad_keys(text, why):
    with pytest.raises(BadKey, match=why):
        parse_public_key(text)
