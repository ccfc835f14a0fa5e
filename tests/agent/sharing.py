"""A user at a machine who shares a terminal: `brokerd-agent share` in a pty, and what it shows."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

from .waiting import until

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1d"


class User:
    """In front of a terminal of 80 x 24 in which `share` runs."""

    def __init__(self, url: str, state: Path, *options: str) -> None:
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        termios.tcsetwinsize(self._slave, (24, 80))
        self.before = termios.tcgetattr(self._slave)
        self.seen = b""
        given = ["--broker", url, "--name", "web1", "--state", str(state), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tunnels.agent", "share", *given],
            cwd=ROOT,
            env={"HOME": str(state), "PATH": os.environ["PATH"], "PS1": "user$ ", "TERM": "xterm"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
        )

    def __enter__(self) -> User:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, rows: int, cols: int) -> None:
        termios.tcsetwinsize(self._slave, (rows, cols))
        for child in self.children():
            os.kill(child, signal.SIGWINCH)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def is_restored(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before

    async def sees(self, text: str) -> None:
        """Waits until it is shown, and forgets all up to there."""

        def is_there() -> bool:
            self._read()
            return text.encode() in self.seen

        await until(is_there, lambda: f"{text!r} in {self.seen!r}")
        self.seen = self.seen.split(text.encode(), 1)[1]

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.seen += data
        except OSError:  # nothing more now
            pass

    async def ended(self) -> int:
        def status() -> bool:
            self._read()
            return self.process.poll() is not None

        await until(status, lambda: f"the end; so far {self.seen!r}")
        await asyncio.sleep(0)
        return self.process.returncode
