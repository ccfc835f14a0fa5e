"""What the node itself has to put on record: in order, exactly once, whether or not the database is there just now.

A terminal ends, a tunnel closes, a file has passed, and nobody can be refused or asked to come back. Each such fact is
the call of an act (`fact`) with plain arguments. Facts are written one after the other by a thread of their own. While
the database is away they wait, and stand as JSON lines in a file (0600), on the disk: a broker that is killed meanwhile
writes them at its next start. A fact's id becomes its audit event's, which is how one that is written already is known.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from uuid import UUID, uuid4

import structlog
from channels.db import database_sync_to_async
from pydantic import TypeAdapter

from tunnels import audit, clock
from tunnels.database import DatabaseThread, is_away, is_lock, problem
from tunnels.errors import DatabaseAway

NAME = "spool.jsonl"
MOST = 100_000
"""Facts that may wait. More are in the broker's log only."""
PROMPT_S = 1.0
"""What is not written after this stands in the file, and nobody waits for it any longer."""
RETRY_S = 1.0
CLOSE_S = 5.0

A = TypeVar("A", bound=Callable[..., object])
T = TypeVar("T")
log = structlog.get_logger(__name__)
_acts: dict[str, Callable[..., object]] = {}


def fact(act: A) -> A:
    """Decorator: an act that the node may keep. One transaction, keyword arguments that JSON can hold by their types,
    and an audit event, or no harm when it is done twice."""
    _acts[_name(act)] = act
    return act


def _name(act: Callable[..., object]) -> str:
    return f"{act.__module__}.{getattr(act, '__name__', '')}"


@cache
def _types(name: str) -> dict[str, TypeAdapter[Any]]:
    act = _acts[name]
    hints = get_type_hints(act)
    return {parameter: TypeAdapter(hints[parameter]) for parameter in signature(act).parameters}


@dataclass(frozen=True, slots=True)
class Fact:
    act: str
    arguments: dict[str, Any]
    id: UUID = field(default_factory=uuid4)
    at: datetime = field(default_factory=clock.now)
    """When it happened."""

    def line(self) -> str:
        types = _types(self.act)
        arguments = {name: types[name].dump_python(value, mode="json") for name, value in self.arguments.items()}
        facts = {"id": str(self.id), "at": self.at.isoformat(), "act": self.act, "arguments": arguments}
        return json.dumps(facts, separators=(",", ":")) + "\n"

    @classmethod
    def parse(cls, line: str) -> Fact:
        """ValueError or KeyError when it is none."""
        facts = json.loads(line)
        types = _types(facts["act"])
        arguments = {name: types[name].validate_python(value) for name, value in facts["arguments"].items()}
        return cls(facts["act"], arguments, UUID(facts["id"]), datetime.fromisoformat(facts["at"]))

    def write(self, *, is_late: bool) -> object:
        """Do the act, unless it is on record."""
        if is_late and audit.is_recorded(self.id):
            return None
        with audit.as_of(self.id, self.at if is_late else None):
            return _acts[self.act](**self.arguments)


@dataclass(eq=False, slots=True)
class _Entry:
    work: Fact | Callable[[], object]
    done: asyncio.Future[Any]
    is_kept: bool = False
    """In the file."""
    tries: int = 0

    def perform(self) -> object:
        self.tries += 1
        if isinstance(self.work, Fact):
            return self.work.write(is_late=self.is_kept or self.tries > 1)
        return self.work()


class Spool:
    """`async with` it: on entering, what an earlier run left is written, on leaving what can be; the rest is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = DatabaseThread("spool")
        self._entries: deque[_Entry] = deque()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._filing = asyncio.Lock()
        self._is_away = self._has_file = False

    def __len__(self) -> int:
        return len(self._entries)

    async def __aenter__(self) -> Spool:
        """Raises what the database raises: nothing else may be written before what was first."""
        for left in await asyncio.to_thread(self._read):
            await self._thread.run(left.write, is_late=True)
        self._path.unlink(missing_ok=True)
        self._task = asyncio.get_running_loop().create_task(self._run())
        install(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        install(None)
        if not self._is_away:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._file()
        self._thread.close()

    async def keep(self, kept: Fact) -> None:
        """Returns once it is written, or safe. Never fails; cancelling it changes nothing."""
        if len(self._entries) >= MOST:
            log.error("too much waits for the database, this is on record here only", fact=kept.line())
            return
        entry = self._add(kept)
        await asyncio.wait({entry.done}, timeout=0 if self._is_away else PROMPT_S)
        if not entry.done.done():
            await asyncio.shield(self._file())

    async def ask(self, work: Callable[[], T]) -> T:
        """Do something in turn, after what happened before it. Raises what it raises; DatabaseAway at once where
        it is. Cancelling it does not end the work."""
        if self._is_away or problem():
            raise DatabaseAway
        answer: T = await asyncio.shield(self._add(work).done)
        return answer

    def _add(self, work: Fact | Callable[[], object]) -> _Entry:
        entry = _Entry(work, asyncio.get_running_loop().create_future())
        self._entries.append(entry)
        self._idle.clear()
        self._news.set()
        return entry

    async def _run(self) -> None:
        while True:
            if not self._entries:
                await self._come_back()
            if not self._entries:  # still: none came meanwhile
                self._idle.set()
                self._news.clear()
                await self._news.wait()
            entry = self._entries[0]
            try:
                answer = await self._thread.run(entry.perform)
            except Exception as error:
                if isinstance(entry.work, Fact):
                    if is_away(error):
                        await self._wait(error)
                        continue
                    # The root of this task. It would fail the next time as well, and the rest waits for it.
                    log.error("fact not written", fact=entry.work.line(), exc_info=error)
                    entry.done.set_result(None)
                else:
                    entry.done.set_exception(DatabaseAway() if is_away(error) else error)
                    entry.done.exception()  # whoever asked may have gone
            else:
                entry.done.set_result(answer)
            self._entries.popleft()

    async def _wait(self, error: Exception) -> None:
        """The fact at the head could not be written; with it, the rest waits."""
        if problem() or not is_lock(error):
            self._go_away(error)
        await self._file()
        await asyncio.sleep(RETRY_S)

    def _go_away(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            log.error("the database is away, what happens is kept", problem=str(error), path=str(self._path))
        for asked in [entry for entry in self._entries if not isinstance(entry.work, Fact)]:
            self._entries.remove(asked)
            asked.done.set_exception(DatabaseAway())
            asked.done.exception()

    async def _come_back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.warning("the database is back, all that was kept is written")
        async with self._filing:
            if self._has_file and not self._entries:
                await asyncio.to_thread(self._path.unlink, missing_ok=True)
                self._has_file = False

    # The file

    async def _file(self) -> None:
        """Put what waits onto the disk. A disk that does not take it is no reason to lose it while we run."""
        async with self._filing:
            fresh = [entry for entry in self._entries if isinstance(entry.work, Fact) and not entry.is_kept]
            lines = [entry.work.line() for entry in fresh if isinstance(entry.work, Fact)]
            if not lines:
                return
            self._has_file = True
            try:
                await asyncio.to_thread(self._append, "".join(lines))
            except OSError as error:
                log.error("what waits for the database is in memory only", problem=error.strerror, facts=len(fresh))
                return
            for entry in fresh:
                entry.is_kept = True

    def _append(self, text: str) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(text.encode())
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)  # half of it would be taken for all of it, or twice
                raise

    def _read(self) -> list[Fact]:
        found: list[Fact] = []
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                found.append(Fact.parse(line))
            except (ValueError, KeyError) as error:
                log.error("a line of the spool cannot be read", line=line[:2000], problem=str(error))
        return found


_current: Spool | None = None


def install(spool: Spool | None) -> None:
    global _current
    _current = spool


def waiting() -> int:
    """How much is not written yet."""
    return len(_current) if _current is not None else 0


async def keep(act: Callable[..., object], **arguments: Any) -> None:
    """Put a `fact` on record. With a node it never fails and takes a moment at most; without, as the act itself."""
    if _current is None:
        await database_sync_to_async(act)(**arguments)
    else:
        await _current.keep(Fact(_name(act), arguments))


async def ask(act: Callable[..., T], **arguments: Any) -> T:
    """An act with an answer, after all that is kept. Raises what it raises."""
    if _current is None:
        answer: T = await database_sync_to_async(act)(**arguments)
        return answer
    return await _current.ask(lambda: act(**arguments))
