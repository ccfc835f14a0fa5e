"""Which lines of a list of keys count, and which files are one."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.keylist import BadLine, BadList, KeyList, read_list, split_options, usable_line

from .stand_in import line_of

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
KEY = line_of(asyncssh.generate_private_key("ssh-ed25519"))
BROKER = line_of(asyncssh.generate_private_key("ssh-ed25519"))


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        (KEY, KEY),
        (f"{KEY} alice@laptop", f"{KEY} alice@laptop"),
        (f"no-pty {KEY}", f"no-pty {KEY}"),
        (f"NO-PTY,no-port-forwarding {KEY}", f"no-pty {KEY}"),
        (f'command="echo \\"a b\\", c" {KEY}', f'command="echo \\"a b\\", c" {KEY}'),
        (f'command="grep \\d x" {KEY}', f'command="grep \\\\d x" {KEY}'),
        (f"restrict {KEY}", f"no-pty {KEY}"),
        (f"restrict,pty {KEY}", KEY),
        (f'expiry-time="20260602" {KEY}', KEY),
        (f'expiry-time="202606011201Z" {KEY}', KEY),
        (f'expiry-time="202606011159Z" {KEY}', None),
        (f'expiry-time="20260601115959Z" {KEY}', None),
        (f'expiry-time="soon" {KEY}', None),
        (f"cert-authority {KEY}", f'cert-authority,principals="pi" {KEY}'),
        (f'cert-authority,principals="ops" {KEY}', f'cert-authority,principals="ops" {KEY}'),
    ],
)
def test_what_is_taken(line: str, taken: str | None) -> None:
    assert usable_line(line, "pi", BROKER, NOW) == taken


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f'from="10.0.0.0/8" {KEY}', "`from` cannot be checked here"),
        (f'environment="A=b" {KEY}', "the option `environment` is not known here"),
        (f"verify-required {KEY}", "the option `verify-required` is not known here"),
        ("ssh-ed25519 nonsense", "no public key"),
        ("nothing", "no public key"),
        (f'command="unbalanced {KEY}', "no public key"),
        (BROKER, "the key of the broker"),
        (f"cert-authority {BROKER}", "the key of the broker"),
    ],
)
def test_what_cannot_be_kept_is_left_out(line: str, complaint: str) -> None:
    with pytest.raises(BadLine, match=complaint):
        usable_line(line, "pi", BROKER, NOW)


def test_options_end_at_the_first_blank_outside_of_quotes() -> None:
    assert split_options('a,b="c, d",e rest of it') == (["a", "b=c, d", "e"], " rest of it")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# people\n\n{KEY} alice\n")
    path.chmod(0o600)
    return path


def test_a_bad_line_takes_none_of_the_others_with_it(file: Path) -> None:
    warnings: list[str] = []
    file.write_text(f'{KEY}\nfrom="1.2.3.4" {KEY}\n')
    admitted = KeyList(file, "pi", BROKER, warnings.append).read(NOW)
    assert admitted is not None
    assert admitted.validate(asyncssh.import_public_key(KEY), "h", "127.0.0.1") is not None
    assert warnings == [
        f"{file}:2: `from` cannot be checked here: addresses are what the broker says; the line is left out"
    ]


def test_an_empty_list_admits_nobody(file: Path) -> None:
    file.write_text("# nobody\n")
    assert KeyList(file, "pi", BROKER, lambda line: None).read(NOW) is None


def test_the_file_may_be_a_link(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file)
    assert KEY in read_list(link)


def test_a_file_that_others_can_write_admits_nobody(file: Path) -> None:
    warnings: list[str] = []
    for mode in (0o620, 0o602):
        file.chmod(mode)
        assert KeyList(file, "pi", BROKER, warnings.append).read(NOW) is None
    assert warnings == [f"{file} can be written by others: chmod go-w {file}; nobody gets in"] * 2


def test_a_folder_that_others_can_write_makes_the_file_theirs(file: Path) -> None:
    file.parent.chmod(0o777)
    with pytest.raises(BadList, match=f"{file.parent} can be written by others"):
        read_list(file)
    file.parent.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 65534, 65534)
    with pytest.raises(BadList, match="belongs to another user"):
        read_list(file)


def test_what_is_no_file_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, complaint in (("pipe", "is no file"), ("nothing", "No such file"), (".", "Is a directory")):
        with pytest.raises(BadList, match=complaint):
            read_list(tmp_path / name)


def test_a_file_without_end_is_refused(file: Path) -> None:
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(BadList, match="larger than"):
        read_list(file)
