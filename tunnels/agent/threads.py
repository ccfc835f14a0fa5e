"""Blocking calls that must not keep a process alive, the agent or the broker: name look-ups and HTTP.

The loop's own executor is joined at exit, so that a stuck DNS server would hold up SIGTERM for half a minute. A daemon
thread per call is dearer, but these calls are rare.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """The result of `call()`. Cancelling abandons the thread; its result is then dropped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:  # the thread's root: whatever it was belongs to the waiting coroutine
            failure = error
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, daemon=True, name="brokerd-call").start()
    return await future
