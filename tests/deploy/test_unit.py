"""The units in `deploy/`, judged by systemd's own tools."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.needs import require_program
from tests.story.broker import ROOT

UNIT = ROOT / "deploy/brokerd.service"
AGENT = ROOT / "deploy/brokerd-agent.service"


def test_it_may_do_next_to_nothing():
    require_program("systemd-analyze")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-300:] + told.stderr


@pytest.mark.parametrize(
    ("unit", "manager", "program"),
    [
        (UNIT, "--system", "/opt/brokerd/.venv/bin/python"),
        (AGENT, "--user", "%h/brokerd-agent/bin/brokerd-agent"),
    ],
    ids=["broker", "agent"],
)
def test_it_is_a_unit_without_mistakes(tmp_path: Path, unit: Path, manager: str, program: str):
    require_program("systemd-analyze")
    written = unit.read_text()
    assert f"ExecStart={program} " in written
    (tmp_path / unit.name).write_text(written.replace(program, "/bin/true").replace("/opt/brokerd", str(ROOT)))
    told = subprocess.run(
        ["systemd-analyze", manager, "verify", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    complaints = [line for line in told.stderr.splitlines() if unit.name in line]
    assert (told.returncode, complaints) == (0, []), told.stderr
