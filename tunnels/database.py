"""Whether the database takes writes now: the node looks once a second, and who is about to need it asks here first.

A database that another process has locked answers nobody for as long as each is ready to wait. While it is known to be
away, acts are refused at once instead, with a sentence, and the node keeps what it has to write (`spool`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from channels.db import database_sync_to_async
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    close_old_connections,
    connection,
    transaction,
)

from tunnels.audit import newest_sequence
from tunnels.errors import DatabaseAway

LOOK_S = 1.0
PATIENCE_S = 5
"""How long the node's own threads wait for somebody else's lock: others wait for them in turn."""
LEAST_FREE = 256 * 1024
"""Bytes on its disk with which the database is as good as full."""

T = TypeVar("T")
log = structlog.get_logger(__name__)
_problem = ""


@contextmanager
def needed() -> Iterator[None]:
    """DatabaseAway where it is known to be away, and in place of the error where that is only found out inside."""
    if _problem:
        raise DatabaseAway
    try:
        yield
    except Exception as error:
        if is_away(error):
            log.warning("refused: the database is away", problem=str(error))
            raise DatabaseAway from error
        raise


def problem() -> str:
    """What is wrong with it, in words; empty where nothing is known to be."""
    return _problem


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database cannot be used now, rather than that the question was wrong."""
    if isinstance(error, DataError | IntegrityError | NotSupportedError | ProgrammingError):
        return False
    return isinstance(error, DatabaseError | InterfaceError) and not str(error).startswith("no such ")


def is_lock(error: BaseException) -> bool:
    """Whether somebody else was writing for as long as we waited: one, or many in turn."""
    return "locked" in str(error)


def be_impatient() -> None:
    """From now on this thread waits `PATIENCE_S` at most for a lock of another process."""
    options = connection.settings_dict.get("OPTIONS", {})
    if "timeout" in options:
        connection.close()
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": {**options, "timeout": PATIENCE_S}}


def never_made_anew() -> None:
    """For the whole process: a database file that is missing is an error, where SQLite would make an empty one."""
    if connection.vendor == "sqlite" and (path := database_file()) is not None:
        connection.settings_dict["OPTIONS"]["database"] = f"{path.absolute().as_uri()}?mode=rw"


def database_file() -> Path | None:
    """None where it is not a file of this machine."""
    return Path(connection.settings_dict["NAME"]) if connection.vendor == "sqlite" else None


class DatabaseThread:
    """One thread with a connection of its own, so that what waits for the database holds up nobody else."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=be_impatient)

    async def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Cancelling it does not end the work."""
        call = partial(_with_fresh_connection, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


def _with_fresh_connection(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    close_old_connections()
    try:
        return work(*args, **kwargs)
    finally:
        close_old_connections()


class DatabaseWatch:
    """`async with DatabaseWatch()`: looks while inside."""

    def __init__(self) -> None:
        self._thread = DatabaseThread("database-watch")

    async def __aenter__(self) -> DatabaseWatch:
        await database_sync_to_async(be_impatient)()  # the thread that most of the node's own questions share
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._thread.close()
        _set("")

    async def _run(self) -> None:
        while True:
            _note(await self._thread.run(look))
            await asyncio.sleep(LOOK_S)


def _note(found: str) -> None:
    if found and not _problem:
        log.error("the database is away: live terminals go on, nothing new is let in", problem=found)
    elif _problem and not found:
        log.warning("the database is back")
    _set(found)


def _set(found: str) -> None:
    global _problem
    _problem = found


def look() -> str:
    """What is wrong, in words. Takes the write lock for a moment and writes nothing.

    Where many write, whoever waits may not have their turn for long: that is no reason to turn everybody away.
    """
    try:
        newest = newest_sequence()
        try:
            with transaction.atomic():
                pass
        except DatabaseError as error:
            if not is_lock(error) or newest_sequence() == newest:
                raise
    except Exception as error:  # whatever it is, the answer is that it cannot be used
        return str(error) or type(error).__name__
    return _lack_of_room()


def _lack_of_room() -> str:
    if (path := database_file()) is None:
        return ""
    try:
        disk = os.statvfs(path)
    except OSError as error:
        return f"its file cannot be reached: {error.strerror}"
    return "its disk is full" if disk.f_bavail * disk.f_frsize < LEAST_FREE else ""
