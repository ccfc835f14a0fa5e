"""The anchor: each audit event's sequence number and hash, once more, in a file outside of the database.

The chain shows what was changed within it, but not that its end was cut off, nor that all of it is an older copy. The
anchor does: a pair in it that the database does not hold means that the database lost or changed that event. Whoever
owns the machine can change both; a file on another machine, or syslog that is sent to one, is out of their reach.

Knows nothing of who asks for it: `witness` follows the chain in the broker, commands catch up when they are done.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import connection

from tunnels.models import AuditEvent

IN_FULL = 10_000
"""So many of the newest events have a line each. Of older ones every second goes when the file has become too long:
the chain connects those that stay."""
MAX_BYTES = 4_000_000
SYSLOG = "/dev/log"
SYSLOG_PRIORITY = 10 * 8 + 5
"""Facility authpriv, severity notice (RFC 5424 section 6.2.1)."""
TAIL = 4096
AT_ONCE = 500

_LINE = re.compile(r"(?:^|\s)(\d{1,18}) ([0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Pair:
    """One event, by its place in the chain and its hash, which vouches for all before it."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence} {self.hash}"


def anchor_file() -> Path:
    path: Path = settings.BROKERD.anchor_file
    return path


def read_anchor(path: Path) -> Iterator[Pair]:
    """What is anchored. Lines of syslog are understood as well; one that was torn is not. Raises OSError."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if found := _LINE.search(line.rstrip("\n")):
                yield Pair(int(found[1]), found[2])


def difference(anchored: Iterable[Pair]) -> str | None:
    """Where the database is not what the anchor says it was, in words; None where it agrees.

    Read the anchor before the database: what is committed later does not matter then.
    """
    newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 0
    wrong: list[int] = []
    lost: list[int] = []
    for some in _portions(sorted(anchored, key=lambda pair: pair.sequence)):
        wanted = [pair.sequence for pair in some]
        held = dict(AuditEvent.objects.filter(sequence__in=wanted).values_list("sequence", "hash"))
        lost += [pair.sequence for pair in some if pair.sequence not in held]
        wrong += [pair.sequence for pair in some if held.get(pair.sequence, pair.hash) != pair.hash]
    if wrong:
        return f"event {wrong[0]} is not the one that was anchored: the database was changed, or is an older copy"
    if lost and lost[0] <= newest:
        return f"event {lost[0]} was anchored and is missing"
    if lost:
        return f"the end is missing: events up to {lost[-1]} were anchored, the database ends at {newest}"
    return None


def catch_up() -> str | None:
    """Anchor what was committed since the last time. Returns what is wrong with it, in words; None where nothing is.

    Does nothing inside a transaction: what is not committed is no fact yet. Raises OSError when it cannot be written.
    """
    if connection.in_atomic_block:
        return None
    with _locked(anchor_file()) as file:
        last = _last(file)
        problem = difference([last]) if last else None
        if fresh := _since(last):
            _append(file, fresh)
            if file.tell() > MAX_BYTES:
                _thin(anchor_file())
    return problem


def _since(last: Pair | None) -> list[Pair]:
    """Events without a line. The first time that is every one: the chain connects them, so the newest ones will do."""
    rows = AuditEvent.objects.filter(sequence__gt=last.sequence if last else 0).order_by("-sequence")
    return [Pair(*row) for row in rows.values_list("sequence", "hash")[:IN_FULL]][::-1]


def _append(file: BinaryIO, pairs: list[Pair]) -> None:
    if settings.BROKERD.anchors_in_syslog:
        _tell_syslog(pairs)
    is_torn = file.seek(0, os.SEEK_END) and _byte_before_end(file) != b"\n"
    file.write((b"\n" if is_torn else b"") + "".join(f"{pair}\n" for pair in pairs).encode())
    file.flush()
    os.fsync(file.fileno())


def _tell_syslog(pairs: list[Pair]) -> None:
    """Before they stand in the file, so that what syslog does not take is tried again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.settimeout(1)
        log.connect(SYSLOG)
        for pair in pairs[-AT_ONCE:]:
            log.send(f"<{SYSLOG_PRIORITY}>brokerd[{os.getpid()}]: audit anchor {pair}".encode())


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file, made where it is missing, for one writer at a time of whichever process."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(path, file):
                continue  # another process has put a shorter one in its place meanwhile
            yield file
            return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _last(file: BinaryIO) -> Pair | None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    for line in reversed(file.read().decode("utf-8", "replace").splitlines()):
        if found := _LINE.search(line):
            return Pair(int(found[1]), found[2])
    return None


def _byte_before_end(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _thin(path: Path) -> None:
    """Where the file may only be appended to, it stays long: that is the better witness."""
    pairs = list(read_anchor(path))
    old, new = pairs[:-IN_FULL], pairs[-IN_FULL:]
    draft = path.with_name(f".{path.name}.new")
    with suppress(OSError):
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.writelines(f"{pair}\n" for pair in [*old[::2], *new])
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def _portions(pairs: list[Pair]) -> Iterator[list[Pair]]:
    for start in range(0, len(pairs), AT_ONCE):
        yield pairs[start : start + AT_ONCE]
