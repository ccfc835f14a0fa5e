"""A data directory as one file, and back. Knows the folder, SQLite's file in it and tar; nothing of Django.

Copied in this order: the audit log's anchor, then the database, then the rest. So the database holds all that is
anchored, and each recording is there that the database names. A live recording is copied as far as it has come.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from shutil import rmtree
from typing import IO, Any

from brokerd.lock import NAME as LOCK

DATABASE = "brokerd.sqlite3"
ANCHOR = "audit.anchor"
SECRET_KEY = "secret_key"  # noqa: S105 -- the name of a file
RECORDINGS = "recordings"
MANIFEST = "manifest.json"
KIND = "brokerd backup 1"
LEFT_OUT = {LOCK, "log", f"{DATABASE}-wal", f"{DATABASE}-shm"}
"""Below the data directory: what belongs to a running process, and logs."""
DERIVED = "search.sqlite3"
"""Below the recordings: made again from them."""
PIECE = 1024 * 1024
MAX_MANIFEST = 256 * 1024 * 1024


class BackupError(Exception):
    """It cannot be made, or cannot be put back; the message says why. Nothing was changed."""


def make_backup(data_dir: Path, target: Path, *, recordings: bool) -> int:
    """Write all of `data_dir` into the new file `target` (0600), also while a broker writes to it. The number of files.

    BackupError or OSError when that is not possible; no file is left then.
    """
    if target.exists():
        raise BackupError(f"{target} is there already; name a new file")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _new_file(draft) as file:
            count = _write(data_dir, file, {target, draft}, recordings=recordings)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)  # unlike a rename it never replaces what somebody else has put there
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write(data_dir: Path, file: IO[bytes], own: set[Path], *, recordings: bool) -> int:
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, data_dir / ANCHOR, ANCHOR, digests)
        with _copy_of_database(data_dir) as copy:
            _add(tar, copy, DATABASE, digests)
        for path in _rest(data_dir, recordings=recordings):
            if path not in own:
                _add(tar, path, path.relative_to(data_dir).as_posix(), digests)
        about = {"kind": KIND, "made": int(time.time()), "recordings": recordings, "sha256": digests}
        content = json.dumps(about, indent=1).encode()
        tar.addfile(_entry(MANIFEST, len(content)), io.BytesIO(content))
    return len(digests)


def _rest(data_dir: Path, *, recordings: bool) -> Iterator[Path]:
    for folder, folders, files in os.walk(data_dir):
        here = Path(folder)
        is_top = here == data_dir
        gone = {*LEFT_OUT, DATABASE, ANCHOR} | (set() if recordings else {RECORDINGS})
        folders[:] = sorted(name for name in folders if not (is_top and name in gone))
        kept = [here / name for name in sorted(files) if not (is_top and name in gone)]
        for path in (*(here / name for name in folders), *kept):
            if path.is_symlink():
                shown = path.relative_to(data_dir)
                raise BackupError(f"{shown} is a symbolic link: what it leads to would be missing; move it back")
        for path in kept:
            is_derived = here.name == RECORDINGS and path.name.startswith(DERIVED)
            if not is_derived and path.is_file():
                yield path


@contextmanager
def _copy_of_database(data_dir: Path) -> Iterator[Path]:
    """A moment of it, whole, in one file: whoever writes meanwhile is not held up, as the source is in WAL mode."""
    if not (data_dir / DATABASE).is_file():
        raise BackupError(f"there is no database in {data_dir}")
    copy = data_dir / f".{DATABASE}.{secrets.token_hex(4)}"
    try:
        _new_file(copy).close()
        with (
            closing(sqlite3.connect(data_dir / DATABASE, timeout=20)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
        yield copy
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be copied: {error}") from error
    finally:
        for path in data_dir.glob(f"{copy.name}*"):
            path.unlink()


def _add(tar: tarfile.TarFile, path: Path, name: str, digests: dict[str, str]) -> None:
    """As long as it is now; one that is gone meanwhile was of no use any more."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        measured = _Measured(file, size)
        tar.addfile(_entry(name, size), measured)  # type: ignore[arg-type]
        digests[name] = measured.digest.hexdigest()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
    return entry


class _Measured:
    """Exactly `size` bytes of a file, hashed on their way."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        if len(data) < size and self._left:
            raise BackupError(f"{self._file.name} became shorter while it was read; try again")
        self.digest.update(data)
        return data


# And back


def restore_backup(source: Path, data_dir: Path) -> dict[str, Any]:
    """Fill the empty `data_dir`, whose lock the caller holds, with what is in `source`; its manifest.

    Everything is unpacked beside and checked before it counts. BackupError where the directory is in use or the file
    is not whole.
    """
    held = {path.name for path in data_dir.iterdir()} - {LOCK, SECRET_KEY}  # which any command makes
    if held:
        raise BackupError(f"{data_dir} is not empty ({', '.join(sorted(held)[:3])}): name a new BROKERD_DATA_DIR")
    draft = data_dir / f".restoring.{secrets.token_hex(4)}"
    draft.mkdir(mode=0o700)
    try:
        manifest = _unpack(source, draft)
        _check_database(draft / DATABASE)
        for path in draft.iterdir():
            path.replace(data_dir / path.name)
    finally:
        rmtree(draft)
    return manifest


def _unpack(source: Path, folder: Path) -> dict[str, Any]:
    """No file of the archive chooses where it goes beyond a name below `folder`, nor what it is, nor who reads it."""
    digests: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(source, mode="r:") as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isreg() else None
                if content is None or manifest is not None:
                    raise BackupError(f"{source} is no backup: {entry.name!r} has no place in one")
                if entry.name == MANIFEST:
                    manifest = _read_manifest(content.read(MAX_MANIFEST))
                elif entry.name in digests:
                    raise BackupError(f"{source} is no backup: {entry.name!r} is in it twice")
                else:
                    digests[entry.name] = _put(folder, entry.name, content.read)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{source} is damaged: {error}") from error
    if manifest is None:
        raise BackupError(f"{source} is damaged: its end is missing")
    if manifest["sha256"] != digests:
        wrong = sorted(name for name, _ in manifest["sha256"].items() ^ digests.items())
        raise BackupError(f"{source} is damaged: {wrong[0]} is not what was saved")
    return manifest


def _read_manifest(content: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(content)
        time.gmtime(manifest["made"] + 0)  # which takes None for now
        if manifest["kind"] == KIND and isinstance(manifest["sha256"], dict):
            return manifest
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    raise BackupError("the manifest makes no sense: it is no backup, or one of another version")


def _put(folder: Path, name: str, read: Callable[[int], bytes]) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or str(path) != name:
        raise BackupError(f"a file in it is called {name!r}, which is no place below the data directory")
    target = folder / path
    for parent in reversed(path.parents):
        (folder / parent).mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    with _new_file(target) as file:
        while data := read(PIECE):
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _check_database(path: Path) -> None:
    if not path.is_file():
        raise BackupError("there is no database in it")
    try:
        with closing(sqlite3.connect(path)) as database:
            found = database.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise BackupError(f"the database in it is damaged: {found}")


def _new_file(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "w+b")
