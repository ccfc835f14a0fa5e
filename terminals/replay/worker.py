"""Indexes one recording, in a process of its own at the lowest priority: live terminals come first.

    python -m terminals.replay.worker RECORDING FOLDER SESSION

Exits with 0 when nothing is left to do for it, also when it was removed meanwhile. Knows no Django: it starts quickly.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from uuid import UUID

from terminals.replay import search
from terminals.replay.build import build
from terminals.replay.index import ENDING

MEMORY = 2 * 1024**3
"""Bytes of address space."""


def main() -> None:
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    index(Path(sys.argv[1]), Path(sys.argv[2]), UUID(sys.argv[3]))


def index(cast: Path, folder: Path, session_id: UUID) -> None:
    """Make its index, and what the search over all recordings knows of it."""
    try:
        _, lines = build(cast)
    except FileNotFoundError:
        return
    search.store(folder, session_id, lines)
    if not cast.exists():  # pruned meanwhile: what was derived from it goes as well
        cast.with_name(cast.name.removesuffix(".cast.zst") + ENDING).unlink(missing_ok=True)
        search.forget(folder, [session_id])


if __name__ == "__main__":
    main()
