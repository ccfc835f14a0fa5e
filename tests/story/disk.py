"""A small disk of its own for a broker's recordings or all its data, that can be filled, emptied, made read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.needs import missing
from tests.story.broker import Broker

SIZE = 4 * 1024 * 1024


@dataclass
class Disk:
    folder: Path

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def empty(self) -> None:
        self._filler.unlink()

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)


@contextmanager
def small_disk(broker: Broker) -> Iterator[Disk]:
    """For its recordings."""
    with mounted(broker.data_dir / "recordings", SIZE) as disk:
        yield disk


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Disk]:
    """Skips the test where nothing can be mounted; a failure with `CI=true`."""
    folder.mkdir(mode=0o700, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        missing("only root can mount the small disk that this test fills")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
