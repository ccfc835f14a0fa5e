"""Indexes recordings, one after the other, in a process of its own at the lowest priority: live terminals come first.

    python -m terminals.replay.worker FOLDER

Each line that it reads, `["RECORDING", "SESSION"]`, is one to index. It answers DONE when nothing is left to do for it,
also when it was removed meanwhile, or OVER: so has been this, and with it the process, which has grown. Whatever else
it says is a complaint. It ends with what it cannot index, with its input, and with its parent. Knows no Django: it
starts quickly.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from terminals.replay import search
from terminals.replay.build import budget_s, build
from terminals.replay.index import ENDING

DONE, OVER = b"done\n", b"over\n"
MEMORY = 2 * 1024**3
"""Bytes of address space."""
KEPT = 256 * 1024**2
"""Of these after a recording: past it the process ends. Memory comes back only so, and each has nearly all of it."""
LOOK_S = 1.0


def main() -> None:
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _end_with_parent()
    folder = Path(sys.argv[1])
    for line in sys.stdin.buffer:
        cast, session_id = json.loads(line)
        _limit_processor(Path(cast))
        index(Path(cast), folder, UUID(session_id))
        is_over = _address_space() > KEPT
        sys.stdout.buffer.write(OVER if is_over else DONE)
        sys.stdout.buffer.flush()
        if is_over:
            break


def index(cast: Path, folder: Path, session_id: UUID) -> None:
    """Make its index, and before that what the search over all recordings knows of it: who has the one has both."""

    def keep(lines: Iterable[tuple[float, str]]) -> None:
        try:
            search.store(folder, session_id, lines)
        except sqlite3.Error:
            traceback.print_exc()  # it can be played, at least

    with suppress(FileNotFoundError):
        build(cast, keep)
    if not cast.exists():  # pruned meanwhile: what was derived from it goes as well
        cast.with_name(cast.name.removesuffix(".cast.zst") + ENDING).unlink(missing_ok=True)
        search.forget(folder, [session_id])


def _limit_processor(cast: Path) -> None:
    """Twice what `build` allows itself, for what it cannot interrupt: past that, the kernel ends this process."""
    size = cast.stat().st_size if cast.exists() else 0
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + 2 * budget_s(size)) + 1, hard))


def _end_with_parent() -> None:
    """A parent that was killed starts anew, with a worker of its own: this one must not go on at its recording."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)

    def look(*_: object) -> None:
        if poll.poll(0):  # nobody holds the other end any more
            os._exit(1)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)


def _address_space() -> int:
    pages, _, _ = Path("/proc/self/statm").read_text().partition(" ")
    return int(pages) * resource.getpagesize()


if __name__ == "__main__":
    main()
