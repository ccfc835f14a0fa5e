"""How long a key takes to its answer, as the broker sees it: from what was typed to the next output of the host."""

from __future__ import annotations

import time

from tunnels import metrics

FORGOTTEN_S = 10.0
"""What comes later than this is no answer to a key."""


class EchoClock:
    """Of one terminal: one key at a time."""

    def __init__(self) -> None:
        self._typed_at: float | None = None

    def typed(self) -> None:
        if self._typed_at is None:
            self._typed_at = time.monotonic()

    def shown(self) -> None:
        if self._typed_at is None:
            return
        if (taken := time.monotonic() - self._typed_at) < FORGOTTEN_S:
            metrics.echo.observe(taken)
        self._typed_at = None
