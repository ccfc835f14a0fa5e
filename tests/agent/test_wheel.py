"""The wheel for distant machines: it installs where nothing of the broker is, and AsyncSSH is all that it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make agent` does, beside the tree."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "tunnels" / "agent", source / "tunnels" / "agent", ignore=shutil.ignore_patterns("__*__"))
    for module in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "tunnels" / "agent" / module, source / "tunnels" / "agent" / module)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "wheel", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist", source], check=True)
    (built,) = (source / "dist").glob("brokerd_agent-*.whl")
    return built


def closure(name: str, found: set[str] | None = None) -> set[str]:
    """A distribution and all that it cannot do without."""
    found = found or set()
    found.add(name)
    for line in distribution(name).requires or []:
        needed = re.split(r"[^\w.-]", line)[0].lower().replace("_", "-")
        if "extra ==" not in line and needed not in found and is_installed(needed):
            closure(needed, found)
    return found


def is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except ModuleNotFoundError:
        return False


def test_it_runs_in_an_environment_with_asyncssh_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for name in closure("asyncssh"):
        for file in distribution(name).files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts and not (site / file).exists():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(file.locate())
    python = tmp_path / "venv" / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "-q",
        "--python",
        python,
        "install",
        "--no-index",
    ]
    subprocess.run([*pip, wheel], check=True)
    program = tmp_path / "venv" / "bin" / "brokerd-agent"
    for words, status, text in (
        (["--help"], 0, "--authorized-keys"),
        (["doctor", "--broker", "http://127.0.0.1:1", "--name", "x"], 1, "cannot be reached"),
    ):
        done = subprocess.run([program, *words], capture_output=True, text=True, env={"HOME": str(tmp_path)}, cwd="/")
        assert done.returncode == status and text in done.stdout, done
    transfer = [python, "-P", "-m", "tunnels.agent.files", "sftp"]
    done = subprocess.run(transfer, input=b"\0\0\0\5\1\0\0\0\3", capture_output=True, cwd="/", check=True)
    assert done.stdout[4:9] == b"\2\0\0\0\3", "it answers as an SFTP server of version 3"
