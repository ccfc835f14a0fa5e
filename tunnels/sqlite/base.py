"""Django's backend for SQLite, where whoever wants to write has their turn.

SQLite waits for its lock by sleeping, in the end for 100 ms at a time, and looks now and then whether it happens to be
free: who has just come takes it before those who sleep, and of fifty there is always one that sleeps for longer than
anybody is ready to wait. Here the writers of a process queue, and only the first of them looks for SQLite's lock, many
times in a moment; other processes do the same, so that each has the same chance. A turn ends as soon as what it was for
has begun: who writes is SQLite's affair still, and of whatever becomes of a transaction nothing is left here. It adds
no deadlock, as the first waits for nobody but who writes. Readers do not wait.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from django.db.backends.sqlite3 import base

from tunnels.sqlite.turns import Turns

WRITES = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "REPLACE")
PAUSE_S = 0.0005
"""Between two looks."""

turns = Turns()
"""Of all writers of this process."""


class DatabaseWrapper(base.DatabaseWrapper):
    def create_cursor(self, name: str | None = None) -> Cursor:
        cursor: Cursor = self.connection.cursor(factory=Cursor)
        return cursor


class Cursor(base.SQLiteCursorWrapper):
    """What begins to write waits for its turn, for as long as its connection is ready to wait for a lock."""

    def execute(self, query: str, params: Any = None) -> Any:
        statement = super().execute
        if self.connection.in_transaction or not query.startswith(WRITES):
            return statement(query, params)
        return _in_turn(self.connection, lambda: statement(query, params))


def _in_turn(connection: sqlite3.Connection, begin: Callable[[], Any]) -> Any:
    """OperationalError "database is locked" where one's turn, and then SQLite's lock, do not come in time."""
    patience_ms = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    patience_s = patience_ms / 1000
    deadline = time.monotonic() + patience_s
    try:
        with turns.turn(patience_s):
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                return _begun(begin, deadline)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
    except TimeoutError as error:
        raise sqlite3.OperationalError(f"database is locked: others wrote for {patience_s:g} s") from error


def _begun(begin: Callable[[], Any], deadline: float) -> Any:
    while True:
        try:
            return begin()
        except sqlite3.OperationalError as error:
            if not _may_pass(error) or time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_S)


def _may_pass(error: sqlite3.Error) -> bool:
    """Somebody else has the lock. Who still reads what was written over since (SNAPSHOT) will never get it."""
    code = getattr(error, "sqlite_errorcode", 0)  # none where the error is not SQLite's own
    return code & 0xFF == sqlite3.SQLITE_BUSY and code != sqlite3.SQLITE_BUSY_SNAPSHOT
