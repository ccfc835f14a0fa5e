"""`git pull && make assets`: what an upgrade brings is installed, and nothing where it brings nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import require_program
from tests.story.broker import ROOT

SOURCES = ("requirements.txt", "package.json", "static/palette.css", "tools/vendor.py")
OTHERS = ("package-lock.json", "requirements-node.txt", "brokerd/storage.py")
MADE = (".venv/bin/python", ".venv/.runtime", "node_modules/.done", "staticfiles/.done")
INSTALL, BROWSER, COLLECT = "install --require-hashes -r requirements.txt", "npm ci", "manage.py collectstatic"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder in which all was made, one thing a minute after the other."""
    require_program("make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    for minute, name in enumerate((*SOURCES, *OTHERS, *MADE)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (minute * 60, minute * 60))
    return tmp_path


def told(folder: Path) -> str:
    return subprocess.run(["make", "-n", "assets"], cwd=folder, capture_output=True, text=True, check=True).stdout


def steps(folder: Path) -> set[str]:
    return {step for step in (INSTALL, BROWSER, COLLECT) if step in told(folder)}


def test_nothing_new_is_nothing_to_do(installed: Path):
    assert steps(installed) == set()


@pytest.mark.parametrize(
    ("changed", "done"),
    [
        ("requirements.txt", {INSTALL, COLLECT}),
        ("package.json", {BROWSER, COLLECT}),
        ("static/palette.css", {COLLECT}),
        ("tools/vendor.py", {COLLECT}),
    ],
)
def test_what_is_new_is_installed(installed: Path, changed: str, done: set[str]):
    (installed / changed).touch()
    assert steps(installed) == done


def test_a_broker_that_runs_keeps_its_files(installed: Path):
    (installed / "static/palette.css").touch()
    assert COLLECT in told(installed)
    assert "--clear" not in told(installed)
