"""How the interpreter, the C library and the system are set for one process that serves for months."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys

FILES = 65_536
SWITCH_INTERVAL_S = 0.0005
"""How long a thread that waits for the interpreter leaves it to another. Python's own 5 ms is what a key would wait,
several times on its way, while a request or a re-check computes in its thread."""
ARENAS = 2
"""Heaps of the C library. By itself it makes one for each of many threads, and each keeps what its thread once took."""
BLOCK = 128 * 1024
"""Bytes from which memory that is freed goes back to the system at once: what 200 recordings compress with, say. The C
library begins with this, but raises it with each such block, and then keeps them."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h of glibc


def prepare() -> None:
    """Before the first thread."""
    _raise_file_limit()
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # not in every C library
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, BLOCK)


def settle() -> None:
    """Once all is up."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _calm_garbage_collection()


def _raise_file_limit() -> None:
    """Each tunnel, browser and file of a recording takes one; many systems begin with 1024, and allow far more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _calm_garbage_collection() -> None:
    """What start-up made stays; without this each full collection walks Django's whole module graph.

    Keys leave no cycles behind, but requests and SSH connections do, and memory grows by what is not looked for.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 5)
