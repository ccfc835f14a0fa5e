"""One broker at a time on a data directory: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brokerd.conf import ConfigError

NAME = "lock"


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Holds the directory. ConfigError where another process does."""
    descriptor = os.open(data_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = file.read(20).strip() or "?"
            raise ConfigError(
                f"a broker runs on the data directory {data_dir} already (process {holder}); "
                "stop it, or give this one its own BROKERD_DATA_DIR"
            ) from error
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
