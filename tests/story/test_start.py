"""A broker that cannot start says so in one line that tells what to do, and exits 1."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.broker import Broker, copy_of_template


@pytest.fixture
def idle(tmp_path: Path) -> Broker:
    """A broker that could start."""
    return copy_of_template(tmp_path / "data")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refusal(broker: Broker, *arguments: str) -> str:
    """The one line on stderr, beside what stands in the log."""
    done = broker.manage(*(arguments or ("serve",)), check=False)
    assert done.returncode == 1
    *logged, line = done.stderr.splitlines()
    assert line.startswith("brokerd: ")
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ \[(info|warning) ", one) for one in logged), done.stderr
    return line


def test_the_port_of_the_portal_is_taken(idle: Broker, taken: int):
    idle.web_port = taken
    line = refusal(idle)
    assert f"the web server cannot listen on 127.0.0.1:{taken} (Address already in use)" in line
    assert "BROKERD_WEB_BIND" in line


def test_the_port_of_the_gateway_is_taken(idle: Broker, taken: int):
    idle.ssh_port = taken
    line = refusal(idle)
    assert f"the SSH gateway cannot listen on 127.0.0.1:{taken} (" in line
    assert "in use" in line
    assert "BROKERD_SSH_BIND" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKERD_KEEPALIVE", "soon"),
        ("BROKERD_SECRET_KEY", "short"),
        ("BROKERD_SPELLING_MISTAKE", "1"),
    ],
)
def test_a_broken_setting(idle: Broker, name: str, value: str):
    idle.settings = {name: value}
    assert name in refusal(idle, "check")


def test_a_data_directory_that_is_a_file(idle: Broker, tmp_path: Path):
    """Nobody can write there, not even root."""
    (tmp_path / "file").write_text("")
    idle.data_dir = tmp_path / "file" / "data"
    assert "cannot be written" in refusal(idle)


def test_a_data_directory_that_others_can_read(idle: Broker):
    idle.data_dir.chmod(0o755)
    assert f"run: chmod 700 {idle.data_dir}" in refusal(idle)


def test_a_key_that_is_damaged(idle: Broker):
    keys = idle.data_dir / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    (keys / "gateway_host_key").write_text("no key")
    (keys / "gateway_host_key").chmod(0o600)
    assert "gateway_host_key" in refusal(idle)


def test_a_database_that_is_not_migrated(idle: Broker):
    for path in idle.data_dir.glob("brokerd.sqlite3*"):
        path.unlink()
    assert refusal(idle).endswith("the database is not up to date; run: manage.py migrate")


def test_a_database_that_is_none(idle: Broker):
    (idle.data_dir / "brokerd.sqlite3").write_bytes(b"this is no database" * 100)
    assert "brokerd.sqlite3" in refusal(idle)


def test_the_log_of_the_database_stays_while_the_broker_runs(idle: Broker):
    """SQLite removes it with the last connection, and each request would pay for a new one."""
    log = idle.data_dir / "brokerd.sqlite3-wal"
    idle.start()
    try:
        for _ in range(3):
            idle.api("GET", "/hosts")
            assert log.exists()
    finally:
        idle.stop()
    assert not log.exists()
