"""Puts the files of one SFTP session on record, many in one transaction, while the next ones are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog

from terminals.sessions import note_transfers
from terminals.ssh.sftp import File, TooMuch, Transfers
from tunnels import spool

MOST_WAITING = 256
"""Files not written down yet, at which the client has to wait."""

log = structlog.get_logger(__name__)


class FileLog:
    """`changed` is called when `is_full` may have changed, `cut` where the session cannot be followed any more."""

    def __init__(self, session: UUID, *, changed: Callable[[], None], cut: Callable[[str], None]) -> None:
        self._session = session
        self._changed = changed
        self._cut = cut
        self._transfers = Transfers(self._note)
        self._waiting: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= MOST_WAITING

    def to_host(self, data: bytes) -> None:
        self._look(self._transfers.to_host, data)

    def to_person(self, data: bytes) -> None:
        self._look(self._transfers.to_person, data)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Files are written down meanwhile, and on leaving those that were left open."""
        writer = asyncio.get_running_loop().create_task(self._write_all())
        try:
            yield
        finally:
            writer.cancel()
            self._transfers.finish()
            await asyncio.shield(self._write())

    def _look(self, at: Callable[[bytes], None], data: bytes) -> None:
        try:
            at(data)
        except TooMuch as reason:
            self._cut(str(reason))

    def _note(self, file: File) -> None:
        self._waiting += file.facts()
        self._news.set()

    async def _write_all(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.shield(self._write())

    async def _write(self) -> None:
        """What cannot be written stands in the broker's own log instead."""
        files, self._waiting = self._waiting, []
        try:
            if files:
                await spool.keep(note_transfers, session_id=self._session, files=files)
        except Exception:
            log.exception("transfers not written", session=str(self._session), files=files)
        self._changed()
