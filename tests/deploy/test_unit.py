"""`deploy/brokerd.service`, judged by systemd's own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.needs import require_program
from tests.story.broker import ROOT

UNIT = ROOT / "deploy/brokerd.service"


def test_it_may_do_next_to_nothing():
    require_program("systemd-analyze")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-300:] + told.stderr


def test_it_is_a_unit_without_mistakes(tmp_path: Path):
    require_program("systemd-analyze")
    here = UNIT.read_text().replace("/opt/brokerd/.venv/bin/python", "/bin/true").replace("/opt/brokerd", str(ROOT))
    (tmp_path / UNIT.name).write_text(here)
    told = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in told.stderr.splitlines() if UNIT.name in line]
    assert (told.returncode, complaints) == (0, []), told.stderr
