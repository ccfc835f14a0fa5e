"""Compares the files of recordings with what the audit says of them: the event of a session's end has the hash.

The audit log is the witness, not the row in the database: whoever can change a file may be able to change that as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terminals.models import Recording
from terminals.recording.store import ENDING, root
from tunnels.audit import Event
from tunnels.models import AuditEvent

CHUNK = 1024 * 1024


@dataclass(slots=True)
class Report:
    findings: list[str] = field(default_factory=list)
    """What does not hold, each naming its session. Empty: all is well."""
    intact: int = 0
    pruned: int = 0
    open: int = 0
    """Still being recorded, so without a hash."""
    unknown: int = 0
    """Failed before there was a hash, which the audit says as well."""

    def __str__(self) -> str:
        return (
            f"{self.intact} recordings hold, {self.pruned} were pruned, {self.open} are not sealed yet, "
            f"{self.unknown} failed without a hash"
        )


def verify_recordings() -> Report:
    """Read every file there is. OSError when the folder or a file cannot be read."""
    report, files = Report(), {path.name.removesuffix(ENDING): path for path in root().glob(f"*/*/*{ENDING}")}
    known = _sealed()
    pruned = set(AuditEvent.objects.filter(event=Event.RECORDING_PRUNED).values_list("session", flat=True))
    by_hash = {facts["stored_sha256"]: session for session, facts in known.items() if facts["stored_sha256"]}
    rows = {str(row.session_id): row for row in Recording.objects.iterator(chunk_size=1000)}
    for session, facts in known.items():
        path = files.pop(session, None)
        if not facts["stored_sha256"]:
            report.unknown += 1
        elif path is not None:
            finding = _compare(path, facts, by_hash)
            report.intact += not finding
            report.findings += [f"session {session}: its recording {finding}"] if finding else []
        elif session in pruned:
            report.pruned += 1
        else:
            report.findings.append(f"session {session}: its recording is missing")
        if (row := rows.get(session)) is None or (row.sha256, row.stored_sha256) != _hashes(facts):
            report.findings.append(f"session {session}: the database has another hash of its recording than the audit")
    for session in files:
        if (row := rows.get(session)) is not None and row.state == Recording.State.RECORDING:
            report.open += 1
        else:
            report.findings.append(f"session {session}: there is a recording that the audit does not know")
    return report


def _sealed() -> dict[str, dict[str, Any]]:
    """What the audit says, by session. The first word counts: a session ends once."""
    known: dict[str, dict[str, Any]] = {}
    ended = AuditEvent.objects.filter(event=Event.SESSION_ENDED).order_by("sequence")
    for session, detail in ended.values_list("session", "detail").iterator(chunk_size=1000):
        if facts := detail.get("recording"):
            known.setdefault(session, facts)
    return known


def _hashes(facts: dict[str, Any]) -> tuple[str, str]:
    return facts["sha256"], facts["stored_sha256"]


def _compare(path: Path, facts: dict[str, Any], by_hash: dict[str, str]) -> str:
    """What is wrong with a file; empty when it is as it was sealed."""
    size, stored_size = path.stat().st_size, facts["stored_size"]
    found = _hash_of(path)
    if found == facts["stored_sha256"]:
        return ""
    if other := by_hash.get(found):
        return f"is that of session {other}"
    if size < stored_size:
        return f"is cut off: {size} bytes instead of {stored_size}"
    if size > stored_size and _hash_of(path, stored_size) == facts["stored_sha256"]:
        return f"has {size - stored_size} bytes more than when it was sealed"
    return "was changed"


def _hash_of(path: Path, size: int | None = None) -> str:
    """Of the whole file, or of so many bytes at its beginning."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while data := file.read(min(left, CHUNK)):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()
