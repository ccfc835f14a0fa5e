"""What a test does where a real part that it needs is missing."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip, saying why; with CI=true a skip does not count, so fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_program(name: str) -> None:
    """One whose Debian package has its name."""
    if shutil.which(name) is None:
        missing(f"{name} is missing: install the Debian package {name}")
