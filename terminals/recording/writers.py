"""The threads that write recordings, a few for all of them: the event loop never waits for a disk."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import structlog

THREADS = 8
"""So many files may be slow at once before others wait as well."""

log = structlog.get_logger(__name__)
Job = Callable[[], object]


class Writers:
    """`with` it. On leaving, jobs that are there are done first; a thread whose disk does not answer is left behind."""

    def __init__(self, threads: int = THREADS) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Daemons: an interpreter that stops would wait for ever for one that waits for a disk.
        self._threads = [Thread(target=self._work, name=f"recording-{n}", daemon=True) for n in range(threads)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for _ in self._threads:
            self._jobs.put(None)

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                # The root of this thread: what was wrong with one recording must not end those of others.
                log.exception("job of a recording failed")
