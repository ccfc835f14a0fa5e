"""How long a host's SSH server takes to answer: measured over a connection that terminals use, when somebody asks."""

from __future__ import annotations

import asyncio
import time

import asyncssh

EVERY_S = 5.0
"""At most one measurement in this time, however many terminals ask."""


class RoundTrip:
    """Of one connection. Owns its measurement, at most one at a time: `cancel` it with the connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self._newest_ms: float | None = None
        self._due = 0.0
        self._measuring: asyncio.Task[None] | None = None

    def newest_ms(self) -> float | None:
        """The newest figure, at once; None before the first. Starts the next measurement where one is due."""
        now = time.monotonic()
        # A host that does not answer is not asked again: its one question is open for as long as the connection.
        if now >= self._due and (self._measuring is None or self._measuring.done()):
            self._due = now + EVERY_S
            self._measuring = asyncio.get_running_loop().create_task(self._measure())
        return self._newest_ms

    def cancel(self) -> None:
        self._due = float("inf")
        if self._measuring is not None:
            self._measuring.cancel()

    async def _measure(self) -> None:
        begun = time.perf_counter()
        await _ask(self._connection)
        if not self._connection.is_closed():  # its end answers as well
            self._newest_ms = round((time.perf_counter() - begun) * 1000, 2)


async def _ask(connection: asyncssh.SSHClientConnection) -> None:
    """A question that changes nothing; an unknown one is answered as well (RFC 4254 section 4).

    AsyncSSH asks it for its own keepalive and has no public call for it. `tests/core/test_round_trip.py` fails when
    this one is gone.
    """
    await connection._make_global_request(b"keepalive@openssh.com")
