"""A stock ssh client in a terminal of its own."""

from __future__ import annotations

import os
import subprocess

from tests.story.broker import until
from tests.story.client import Client


class Screen:
    """As a person sees it."""

    def __init__(self, client: Client, destination: str) -> None:
        self.process = subprocess.Popen(
            client.command(destination, options=("-tt",)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdin and self.process.stdout
        self._in, self._out = self.process.stdin, self.process.stdout
        os.set_blocking(self._out.fileno(), False)
        self.shown = bytearray()

    def shows(self, text: bytes) -> None:
        def look() -> bool:
            self.shown.extend(self._out.read() or b"")
            return text in self.shown

        until(look, f"{text!r} is shown")

    def type(self, data: bytes) -> None:
        self._in.write(data)
        self._in.flush()
