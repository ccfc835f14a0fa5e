"""What a terminal session asks of whoever records it."""

from __future__ import annotations

from typing import Protocol


class Recorder(Protocol):
    """Keeps what is shown. Its calls never wait."""

    @property
    def is_behind(self) -> bool:
        """Too much waits to be written: nothing more should come from the host."""

    @property
    def problem(self) -> str:
        """Why nothing is recorded now; empty while all is."""

    def output(self, data: bytes) -> None: ...

    def resize(self, cols: int, rows: int) -> None: ...

    def mark(self, text: str) -> None: ...
