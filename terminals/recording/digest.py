"""What a recording is known by once nothing is added any more: its hashes and sizes. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sealed:
    """The end of a recording, as the audit keeps it."""

    sha256: str = ""
    """Of the asciicast. Empty: there is no file that could be read."""
    stored_sha256: str = ""
    """Of the compressed file."""
    size: int = 0
    """Bytes of the asciicast."""
    stored_size: int = 0
    duration_s: float = 0
    problem: str = ""
    """What is missing in it, and why."""
    has_failed: bool = False
    """Whether recording was given up before the terminal was over."""

    @property
    def facts(self) -> dict[str, Any]:
        """For the audit."""
        return {
            "state": "failed" if self.has_failed else "sealed",
            "sha256": self.sha256,
            "stored_sha256": self.stored_sha256,
            "size": self.size,
            "stored_size": self.stored_size,
            **({"problem": self.problem} if self.problem else {}),
        }


class Digest:
    """Grows with the file."""

    def __init__(self) -> None:
        self._text = hashlib.sha256()
        self._stored = hashlib.sha256()
        self.size = 0
        self.stored_size = 0

    def copy(self) -> Digest:
        other = Digest()
        other._text, other._stored = self._text.copy(), self._stored.copy()
        other.size, other.stored_size = self.size, self.stored_size
        return other

    def add_text(self, text: bytes) -> None:
        self._text.update(text)
        self.size += len(text)

    def add_stored(self, data: bytes) -> None:
        self._stored.update(data)
        self.stored_size += len(data)

    def seal(self, *, duration_s: float, problem: str = "", has_failed: bool = False) -> Sealed:
        return Sealed(
            self._text.hexdigest(),
            self._stored.hexdigest(),
            self.size,
            self.stored_size,
            round(duration_s, 3),
            problem,
            has_failed,
        )
