"""Programs that run beside a test, with what they print kept in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.story.broker import SCALE


class Program:
    def __init__(self, command: list[Any], log: Path, **options: Any) -> None:
        self._command = command
        self._log = log
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._options,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process, "not started"
        return self._process

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float = 30) -> int:
        """The exit status."""
        return self.process.wait(seconds * SCALE)

    def end(self) -> None:
        """It and its children: a retry loop has one."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(5)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@contextmanager
def program(command: list[Any], log: Path, **options: Any) -> Iterator[Program]:
    """Not started yet; ended on leaving."""
    made = Program(command, log, **options)
    try:
        yield made
    finally:
        made.end()
