"""`tunnels.files`: a secret file is made once, whole and private."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunnels.files import private_file


def test_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "key"
    old = os.umask(0)
    try:
        assert private_file(path, lambda: b"one") == b"one"
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert private_file(path, lambda: b"two") == b"one"


def test_all_who_come_at_once_agree(tmp_path):
    path = tmp_path / "key"
    with ThreadPoolExecutor(16) as pool:
        contents = set(pool.map(lambda _: private_file(path, lambda: os.urandom(32)), range(64)))
    assert len(contents) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_nothing_behind(tmp_path):
    def fail() -> bytes:
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError):
        private_file(tmp_path / "key", fail)
    assert list(tmp_path.iterdir()) == []
