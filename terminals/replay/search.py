"""Search over the text of all recordings: `recordings/search.sqlite3` (0600), with SQLite's FTS5. Knows no Django.

One document a recording, made by the indexer and bounded. The file is derived: to lose it costs the time to make it
anew (`manage.py index_recordings --rebuild`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import UUID

NAME = "search.sqlite3"
MAX_CHARACTERS = 2 * 1024 * 1024
"""Of one recording: what it showed later is not found."""
MAX_QUERY = 200
MAX_WORDS = 12
LINES_OF_ONE = 3
"""Hits in one recording. Its own search has them all."""
MAX_LINE = 300
BUSY_S = 60

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, document INTEGER NOT NULL UNIQUE, cut_s REAL);
CREATE VIRTUAL TABLE IF NOT EXISTS shown USING fts5(text, times UNINDEXED, tokenize='unicode61 remove_diacritics 0');
"""
_ALL = """
SELECT sessions.id, sessions.cut_s, shown.text, shown.times FROM shown JOIN sessions ON sessions.document = shown.rowid
WHERE shown MATCH ? ORDER BY shown.rowid DESC LIMIT ?
"""
_ALLOWED = _ALL.replace("ORDER", "AND sessions.id IN (SELECT id FROM allowed) ORDER")


@dataclass(frozen=True, slots=True)
class Hit:
    session_id: UUID
    time_s: float
    line: str
    cut_s: float | None
    """What this recording showed later was left out of the search."""


def search(folder: Path, query: str, session_ids: Iterable[UUID] | None, limit: int) -> list[Hit]:
    """Newest recordings first, a few lines of each; only of `session_ids`, unless None.

    All words must be somewhere in the recording. Each is taken literally; `a.b` is a phrase, the last one may go on.
    sqlite3.Error when the file cannot be read, or is damaged.
    """
    words = query_words(query)
    if not words or not (folder / NAME).exists():
        return []
    with _database(folder) as database:
        if session_ids is not None:
            database.execute("CREATE TEMP TABLE allowed (id TEXT PRIMARY KEY)")
            database.executemany("INSERT OR IGNORE INTO allowed VALUES (?)", ((str(one),) for one in session_ids))
        found = database.execute(_ALL if session_ids is None else _ALLOWED, (_expression(words), limit))
        return list(islice((hit for row in found for hit in _hits(row, words)), limit))


def query_words(query: str) -> list[str]:
    """Those in which there is something to look for."""
    words = query.replace("\0", " ")[:MAX_QUERY].split()
    return [word for word in words if any(character.isalnum() for character in word)][:MAX_WORDS]


def _expression(words: list[str]) -> str:
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " AND ".join(quoted) + "*"


def _hits(row: tuple[str, float | None, str, str], words: list[str]) -> Iterator[Hit]:
    """Lines with all words, else with any of them, else the first: words may be found that are written otherwise."""
    session_id, cut_s, text, times = row
    wanted = [word.casefold() for word in words]
    lines = list(zip(times.split(), text.split("\n"), strict=False))
    for fits in (all, any):
        best = [entry for entry in lines if _has(entry[1].casefold(), wanted, fits)]
        if best:
            break
    for time, line in (best or lines[:1])[:LINES_OF_ONE]:
        yield Hit(UUID(session_id), float(time), line[:MAX_LINE], cut_s)


def _has(line: str, words: list[str], fits: Callable[[Iterable[bool]], bool]) -> bool:
    return fits(word in line for word in words)


def store(folder: Path, session_id: UUID, lines: Iterable[tuple[float, str]]) -> None:
    """The text of a recording, in place of what there was of it. sqlite3.Error when it cannot be written."""
    kept: list[tuple[float, str]] = []
    size, cut_s = 0, None
    for time, line in lines:
        size += len(line) + 1
        if size > MAX_CHARACTERS:
            cut_s = time
            break
        kept.append((time, line))
    text, times = "\n".join(line for _, line in kept), " ".join(f"{time:.3f}" for time, _ in kept)
    with _database(folder) as database:
        _forget(database, session_id)
        document = database.execute("INSERT INTO shown (text, times) VALUES (?, ?)", (text, times)).lastrowid
        database.execute("INSERT INTO sessions VALUES (?, ?, ?)", (str(session_id), document, cut_s))


def forget(folder: Path, session_ids: Iterable[UUID]) -> None:
    """Nothing of them is found, nor kept, any more."""
    if (folder / NAME).exists():
        with _database(folder) as database:
            for session_id in session_ids:
                _forget(database, session_id)
            # Else their words stay until it merges by itself.
            database.execute("INSERT INTO shown (shown) VALUES ('optimize')")


def remove(folder: Path) -> None:
    """All of it, to be made anew."""
    for ending in ("", "-wal", "-shm"):
        (folder / (NAME + ending)).unlink(missing_ok=True)


def _forget(database: sqlite3.Connection, session_id: UUID) -> None:
    known = database.execute("SELECT document FROM sessions WHERE id = ?", (str(session_id),)).fetchone()
    if known:
        database.execute("DELETE FROM shown WHERE rowid = ?", known)
        database.execute("DELETE FROM sessions WHERE id = ?", (str(session_id),))


@contextmanager
def _database(folder: Path) -> Iterator[sqlite3.Connection]:
    """One transaction."""
    path = folder / NAME
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its log files inherit this
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA secure_delete=ON")
        database.executescript(_TABLES)
        with database:
            yield database
