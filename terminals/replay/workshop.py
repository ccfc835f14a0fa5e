"""Has recordings indexed by a worker: one process for all of them, as long as none is too much for it."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings

from terminals.recording.store import root
from terminals.replay.worker import DONE, OVER

LONGEST_S = 3600
"""A worker that takes longer for one recording is ended. It gives up by itself long before (see `build`)."""
ERROR_TEXT = 500
CHUNK = 65_536

log = structlog.get_logger(__name__)


class Lost(Exception):
    """The worker did not come to the end of a recording. Says how it ended, and its last words."""


class Workshop:
    """`async with` it. On leaving, what the worker is at is given up."""

    def __init__(self) -> None:
        self._worker: Process | None = None

    async def __aenter__(self) -> Workshop:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def index(self, cast: Path, session_id: UUID) -> None:
        """One at a time. Lost when it cannot be done; the next one has a new worker. Cancelling it ends the worker."""
        if self._worker is None or self._worker.returncode is not None:
            self._worker = await _start()
        worker, said = self._worker, b""
        try:
            async with asyncio.timeout(LONGEST_S):
                said = await _ask(worker, json.dumps([str(cast), str(session_id)]))
        except TimeoutError:
            said = b"it took too long"
        finally:
            if not said.endswith(DONE):
                await self.close()
        text = said.removesuffix(DONE).removesuffix(OVER).decode("utf-8", "replace").strip()
        if not said.endswith((DONE, OVER)):
            raise Lost(f"{text} (exit status {worker.returncode})".strip())
        if text:
            log.error("indexed with an error", session=str(session_id), error=text)

    async def close(self) -> None:
        """End the worker. There is a new one when there is something to do."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()


async def _start() -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "terminals.replay.worker", str(root())),
        cwd=settings.BASE_DIR,
        env={"PYTHONPATH": str(settings.BASE_DIR)},
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
    )


async def _ask(worker: Process, request: str) -> bytes:
    """The end of what it says, up to its answer or its end."""
    assert worker.stdin is not None and worker.stdout is not None
    said = b""
    with suppress(ConnectionError):  # what it has said tells why it is gone
        worker.stdin.write(f"{request}\n".encode())
        await worker.stdin.drain()
    while not said.endswith((DONE, OVER)):
        if not (chunk := await worker.stdout.read(CHUNK)):
            await worker.wait()  # a kill before this would take its exit status from asyncio
            break
        said = (said + chunk)[-ERROR_TEXT:]
    return said
