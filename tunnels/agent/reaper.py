"""Waiting for a child to exit, without a signal handler that others in the process could replace."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress


def watch(popen: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
    """Reaps `popen` when it exits, then calls `on_exit` in the loop. A pidfd where the system has it, else a thread."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(popen.pid)
    except (AttributeError, OSError):
        _watch_in_thread(loop, popen, on_exit)
        return

    def readable() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        popen.wait()
        on_exit()

    loop.add_reader(descriptor, readable)


def _watch_in_thread(
    loop: asyncio.AbstractEventLoop, popen: subprocess.Popen[bytes], on_exit: Callable[[], None]
) -> None:
    def reap() -> None:
        popen.wait()
        on_exit()

    def work() -> None:
        # WNOWAIT leaves the zombie for the loop to reap: until then its process group number stays ours
        os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(reap)

    threading.Thread(target=work, daemon=True, name=f"wait-{popen.pid}").start()
