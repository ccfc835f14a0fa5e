"""`python -m tunnels.agent.files sftp`, `... scp -t PATH`: one file transfer on standard input and output.

A program of its own, as OpenSSH's sftp-server is one: a named pipe that nobody feeds, or a disk that hangs, stops one
transfer and no tunnel; and a client that asks much and reads nothing makes the kernel's pipes full, no memory of ours.
Reading and writing block for the same reason. AsyncSSH's servers do the work, one request after the other.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.logging import sftp_logger
from asyncssh.scp import run_scp_server
from asyncssh.sftp import SFTPServerHandler

SFTP_VERSION = 3
"""The one that OpenSSH speaks, and that the broker puts on record."""
CHUNK = 64 * 1024
FOR_SERVER = re.compile(r"scp(?: -[dprv]+)* -[ft]\b")


def is_scp(command: str) -> bool:
    """Whether a command is what `scp -O` starts at the far end."""
    return FOR_SERVER.match(command) is not None


def argv(*words: str) -> list[str]:
    """This program's. The directory that it starts in is the person's, so that nothing is imported from there."""
    return [sys.executable, "-P", "-m", "tunnels.agent.files", *words]


def import_path() -> bytes:
    """PYTHONPATH that makes it find itself and AsyncSSH wherever they were installed."""
    return os.fsencode(os.pathsep.join(path for path in sys.path if Path(path).is_absolute()))


class Input:
    """Standard input in the form of AsyncSSH's SSHReader."""

    logger = sftp_logger

    def __init__(self) -> None:
        self._rest = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Every client in use has the arguments of SYMLINK in OpenSSH's order; AsyncSSH goes by its name."""
        return "OpenSSH" if name == "client_version" else default

    async def read(self, size: int) -> bytes:
        data = self._rest or os.read(0, CHUNK)
        self._rest = data[size:]
        return data[:size]

    async def readexactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing:
            if not (part := await self.read(missing)):
                raise asyncio.IncompleteReadError(b"".join(parts), size)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    async def readline(self) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < CHUNK and (letter := await self.read(1)):
            line += letter
        return line


class Output:
    """Standard output or error in the form of AsyncSSH's SSHWriter, and of the channel below it."""

    logger = sftp_logger

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_closed = False
        self.status = 0

    @property
    def channel(self) -> Output:
        return self

    def is_closing(self) -> bool:
        return self._is_closed

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    async def drain(self) -> None:
        """What is written is gone."""

    def close(self) -> None:
        self._is_closed = True

    def exit(self, status: int) -> None:
        self.status = status


async def serve_sftp(files: Any, stdin: Any, stdout: Any) -> int:
    await SFTPServerHandler(files, stdin, stdout, SFTP_VERSION).run()
    return 0


async def serve_scp(files: Any, command: str, stdin: Any, stdout: Any) -> int:
    stderr: Any = Output(2)
    if (running := run_scp_server(files, command, stdin, stdout, stderr)) is not None:
        await running
    return int(stderr.status or stdout.status)


def main(words: Sequence[str] | None = None) -> int:
    """The exit status of the transfer."""
    words = sys.argv[1:] if words is None else words
    stdin, stdout = Input(), Output(1)
    channel: Any = stdout
    files = asyncssh.SFTPServer(channel)
    try:
        if words == ["sftp"]:
            return asyncio.run(serve_sftp(files, stdin, stdout))
        return asyncio.run(serve_scp(files, shlex.join(words), stdin, stdout))
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
