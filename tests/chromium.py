"""Debian's Chromium for the tests: where it is, how it is started, and what happens where it is missing."""

from __future__ import annotations

from pathlib import Path

from tests.needs import missing

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def require() -> None:
    """Skip without it, or fail where a skip does not count."""
    if not Path(CHROMIUM).exists():
        missing(f"{CHROMIUM} is missing: install the Debian package chromium")
