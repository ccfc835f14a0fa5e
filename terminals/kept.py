"""Terminals that have just ended: their last output waits a while for a person who was away when the program ended."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from terminals.end import End
from terminals.protocol import Close
from terminals.session import TerminalSession

MOST = 64
"""Terminals of a node; the oldest goes first."""
MAX_BYTES = 256 * 1024
"""Of the output of each."""


@dataclass(frozen=True, slots=True)
class Ended:
    terminal: TerminalSession
    end: End
    until: float


class Kept:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: OrderedDict[UUID, Ended] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def add(self, terminal: TerminalSession, end: End) -> None:
        """Keep it for its grace, where its end was nobody's doing: what was taken from a person is not shown again.

        Nor is what could not be recorded: of such a terminal the reason is kept, for whoever comes back.
        """
        if end.exit is None and end.code not in (Close.TUNNEL_LOST, Close.RECORDING_FAILED):
            return
        terminal.history.shrink(0 if end.code is Close.RECORDING_FAILED else MAX_BYTES)
        self._ended[terminal.id] = Ended(terminal, end, self._clock() + terminal.limits.grace_s)
        if len(self._ended) > MOST:
            self._ended.popitem(last=False)

    def get(self, session_id: UUID) -> Ended | None:
        ended = self._ended.get(session_id)
        return ended if ended is not None and ended.until > self._clock() else None

    @property
    def sessions(self) -> list[UUID]:
        return list(self._ended)

    def drop(self, session_id: UUID) -> None:
        self._ended.pop(session_id, None)

    def drop_expired(self) -> None:
        now = self._clock()
        for session_id in [session_id for session_id, ended in self._ended.items() if ended.until <= now]:
            del self._ended[session_id]
