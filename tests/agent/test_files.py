"""SFTP and legacy scp, served without OpenSSH, through a real tunnel."""

from __future__ import annotations

import os
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.account import Account, own_account
from tunnels.agent.files import is_scp

from .stand_in import Gateway
from .waiting import patient


async def test_sftp_both_ways(shell: Gateway, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    async with await shell.log_in() as conn, patient(), conn.start_sftp_client() as sftp:
        await sftp.put(tmp_path / "a", tmp_path / "b")
        await sftp.get(tmp_path / "b", tmp_path / "c")
        assert sorted(await sftp.listdir(str(tmp_path))) == [".", "..", "a", "b", "c"]
        assert await sftp.realpath(".") == own_account().directory
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await sftp.stat(str(tmp_path / "nothing"))
    assert (tmp_path / "c").read_bytes() == data


async def test_legacy_scp_where_the_machine_has_none(
    shell: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "has_program", lambda self, name: False)
    folder = tmp_path / "from"
    (folder / "with space").mkdir(parents=True)
    (folder / "with space" / "file").write_bytes(os.urandom(200_000))
    async with await shell.log_in() as conn, patient():
        await asyncssh.scp(folder, (conn, tmp_path / "there"), recurse=True, preserve=True)
        await asyncssh.scp((conn, tmp_path / "there"), tmp_path / "back", recurse=True)
        with pytest.raises(asyncssh.SFTPError, match="nothing"):
            await asyncssh.scp((conn, tmp_path / "nothing"), tmp_path / "back")
        done = await conn.run("scp -t", encoding=None)
    source, back = (root / "with space" / "file" for root in (folder, tmp_path / "back"))
    assert back.read_bytes() == source.read_bytes()
    assert done.exit_status == 1 and b"required" in done.stderr


@pytest.mark.parametrize(
    ("command", "serves"),
    [
        ("scp -t /tmp", True),
        ("scp -r -p -f 'a b'", True),
        ("scp -rp -t x", True),
        ("scp a b:", False),
        ("scp -r a b:", False),
        ("scpx -t a", False),
        ("echo scp -t a", False),
    ],
)
def test_what_is_a_servers_scp(command: str, serves: bool) -> None:
    assert is_scp(command) is serves


async def test_python_in_the_home_is_not_run(shell: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a person left there is no part of the transfer program."""
    (tmp_path / "asyncssh.py").write_text("raise SystemExit(9)\n")
    monkeypatch.setattr(Account, "directory", str(tmp_path))
    async with await shell.log_in() as conn, patient(), conn.start_sftp_client() as sftp:
        assert await sftp.getcwd() == str(tmp_path)
