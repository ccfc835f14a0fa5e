"""`add_key`, `remove_key` and `list_keys`, as scripts use them."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from terminals.keys import note_use
from terminals.models import PersonKey
from tests.machines.helpers import key_line
from tests.people.helpers import events, last_event
from tunnels.keys import parse_public_key

HERS, HIS = key_line("alice's laptop"), key_line("bob's laptop")
FINGERPRINT = parse_public_key(HERS).fingerprint
SECRET = "c2VjcmV0IHNlY3JldA=="


def run(*words: str) -> str:
    """What the command prints. CommandError is exit 1 and one line on stderr."""
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


@pytest.fixture
def pipe(monkeypatch):
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def file(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "id.pub"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def test_three_people(alice, bob, charlie, pipe, file):
    pipe(f"{HERS} alice@laptop\n")
    assert run("add_key", "alice") == f"{FINGERPRINT}\n"
    assert run("add_key", "bob", file(f"{HIS}\n")) == f"{parse_public_key(HIS).fingerprint}\n"
    with pytest.raises(CommandError, match="this key is in use already"):
        run("add_key", "charlie", file(HERS))
    assert [key.comment for key in alice.keys.all()] == ["alice@laptop"]
    assert bob.keys.count() == 1
    assert not charlie.keys.exists()
    assert events() == ["key.added", "key.added", "!key.added"]
    assert last_event().person == "", "nobody of the portal: whoever runs commands on the broker"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "ALGORITHM BASE64"),
        (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n", "private key"),
        (b"\xff\xfe\x00", "ALGORITHM BASE64"),
        ("x" * 100_000, "too long"),
        (f"{HERS}\n{HIS}\n", "one line"),
    ],
)
def test_files_that_are_not_one_public_key(alice, file, text, told):
    with pytest.raises(CommandError, match=told) as refusal:
        run("add_key", "alice", file(text))
    assert SECRET not in str(refusal.value)
    assert not PersonKey.objects.exists()


def test_who_or_what_is_not_there(alice, pipe, tmp_path):
    pipe(HERS)
    with pytest.raises(CommandError, match="no person nobody"):
        run("add_key", "nobody")
    with pytest.raises(CommandError, match=r"cannot read .*: No such file"):
        run("add_key", "alice", str(tmp_path / "missing.pub"))
    with pytest.raises(CommandError, match=r"cannot read .*: Is a directory"):
        run("add_key", "alice", str(tmp_path))
    with pytest.raises(CommandError, match="alice has no key SHA256:x"):
        run("remove_key", "alice", "SHA256:x")
    with pytest.raises(CommandError, match="no person nobody"):
        run("list_keys", "nobody")


def test_input_that_is_no_text(alice, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    with pytest.raises(CommandError, match="not text"):
        run("add_key", "alice")


def test_removed_from_its_owner_only(alice, bob, pipe):
    pipe(HERS)
    run("add_key", "alice")
    with pytest.raises(CommandError, match="bob has no key"):
        run("remove_key", "bob", FINGERPRINT)
    assert run("remove_key", "alice", FINGERPRINT) == f"removed {FINGERPRINT}\n"
    assert events() == ["key.added", "key.removed"]
    pipe(HERS)
    run("add_key", "bob")


def test_a_list_for_people_and_for_scripts(alice, pipe, capsys):
    assert run("list_keys", "alice") == ""
    assert "alice has no key; add_key alice adds one" in capsys.readouterr().err
    assert json.loads(run("list_keys", "alice", "--json")) == []
    pipe(f"{HERS} \x1b[31malice's laptop")
    run("add_key", "alice")
    key = alice.keys.get()
    heads, row = run("list_keys", "alice").splitlines()
    assert heads.split() == ["fingerprint", "type", "comment", "added", "last", "used", "from"]
    assert row.split("  ")[:3] == [FINGERPRINT, "ED25519", "<U+001B>[31malice's laptop"]
    assert row.split()[-2:] == ["never", "-"]
    note_use(key.pk, "192.0.2.9")
    assert run("list_keys", "alice").split()[-1] == "192.0.2.9"
    (told,) = json.loads(run("list_keys", "alice", "--json"))
    assert (told["fingerprint"], told["algorithm"], told["bits"]) == (FINGERPRINT, "ssh-ed25519", 256)
    assert (told["line"], told["last_used_address"]) == (key.line, "192.0.2.9")
    assert told["last_used"] >= told["added"]
