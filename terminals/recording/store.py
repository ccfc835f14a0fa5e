"""Where recordings are, and how to read them: `recordings/YYYY/MM/SESSION.cast.zst` below the data directory.

Beside a recording may stand what was derived from it, or put aside, under the same name with another ending.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings

from terminals.recording.format import Frame, read_frames

ENDING = ".cast.zst"
LEAST_FREE = 256 * 1024
"""Bytes on the disk without which no recording is begun."""


def root() -> Path:
    """The folder of all recordings of this broker."""
    folder: Path = settings.BROKERD.data_dir / "recordings"
    return folder


def path_of(session_id: UUID, started: datetime) -> Path:
    """The file of a session that started then, whether or not it is there."""
    month = started.astimezone(UTC)
    return root() / f"{month:%Y}" / f"{month:%m}" / f"{session_id}{ENDING}"


def beside(path: Path, ending: str) -> Path:
    """The file next to a recording that has this ending, such as `.index.zst`."""
    return path.with_name(path.name.removesuffix(ENDING) + ending)


def files_of(path: Path) -> list[Path]:
    """The recording and everything beside it, as far as it is there."""
    return sorted(path.parent.glob(f"{path.name.removesuffix(ENDING)}.*"))


def create(path: Path) -> BinaryIO:
    """A new file (0600) in folders of its own (0700), unbuffered. OSError when it cannot be, or is there already."""
    for folder in (root(), path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "r+b", buffering=0)


def problem() -> str:
    """Why nothing could be recorded now, in words; empty where no reason is seen. A file may still not be written."""
    folder = root() if root().exists() else settings.BROKERD.data_dir
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return str(error.strerror).lower()
    if disk.f_flag & os.ST_RDONLY:
        return "read-only file system"
    if disk.f_bavail * disk.f_frsize < LEAST_FREE:
        return "no space left on device"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "permission denied"


def frames(path: Path, offset: int = 0) -> Iterator[Frame]:
    """The frames from `offset` on, also of a file that is still written. OSError, or `format.Damaged`."""
    with path.open("rb") as file:
        yield from read_frames(file, offset)


def open_cast(path: Path, offset: int = 0) -> Iterator[bytes]:
    """The whole lines, header first, each with its newline; as `frames`."""
    for frame in frames(path, offset):
        yield from frame.lines
