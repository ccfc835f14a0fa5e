"""How much output may be in flight to one viewer: as much as keeps its terminal busy, and hardly more. Pure.

What is in flight when a person presses Ctrl-C has to be shown before the prompt is. The window therefore follows what
the viewer was measured to do: its rate, times the shortest time from sending to the acknowledgement of what was parsed,
plus a little. Only acknowledgements under load say anything: an echo waits for the browser's own timer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from terminals.protocol import WINDOW

LEAST = 32 * 1024
MOST = 512 * 1024
INITIAL = WINDOW
SLACK_S = 0.010
"""Of output in flight beyond what the way to the viewer and back holds; keeps its parser fed between two acks."""
HEADROOM = 1.25
"""So that the window finds a rate that has grown."""
MARK_EVERY = 8 * 1024
"""Bytes from one moment of sending that is remembered to the next."""
RATE_COUNTS_S = 0.25
"""The highest rate of one to two times as long counts: acks come in bursts. What was longer ago says nothing: coloured
text takes a terminal several times as long as plain."""
FORGET_S = 10.0
"""The shortest round trip counts for this long: networks change."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment of sending: up to which offset, when, what was acknowledged then, and was there more to send?"""

    offset: int
    at: float
    acked: int
    is_limited: bool


class Window:
    """`size` is in bytes. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.size = INITIAL
        self._marks: deque[_Mark] = deque()
        self._marked = self._acked = 0
        self._round_trip: float | None = None
        self._round_trip_at = 0.0
        self._probe_from: int | None = None
        """While the round trip is measured anew: output before this offset was sent into a full window."""
        self._rate = self._rate_before = 0.0
        self._rate_since = 0.0

    def restart(self, offset: int) -> None:
        """Output goes on at `offset`: nothing is in flight."""
        self._marks.clear()
        self._marked = self._acked = offset
        self._probe_from = None

    def sent(self, offset: int, now: float, *, is_limited: bool) -> None:
        """Output was sent up to `offset`; `is_limited`: more is there, which the window holds back."""
        while offset - self._marked >= MARK_EVERY:
            self._marked += MARK_EVERY
            self._marks.append(_Mark(self._marked, now, self._acked, is_limited))

    def acknowledged(self, offset: int, now: float) -> None:
        """The viewer has parsed up to `offset`."""
        self._acked = offset
        mark = None
        while self._marks and self._marks[0].offset <= offset:
            mark = self._marks.popleft()
        if mark is None or now <= mark.at:
            return
        self._note_round_trip(mark, now - mark.at, now)
        self._note_rate(mark, (offset - mark.acked) / (now - mark.at), now)
        if self._rate and self._round_trip is not None and self._probe_from is None:
            wanted = max(self._rate, self._rate_before) * (self._round_trip + SLACK_S) * HEADROOM
            self.size = int(min(MOST, max(LEAST, wanted)))

    def _note_round_trip(self, mark: _Mark, taken: float, now: float) -> None:
        if self._probe_from is not None and mark.offset <= self._probe_from:
            return
        if self._round_trip is None or self._probe_from is not None or taken <= self._round_trip:
            self._round_trip, self._round_trip_at, self._probe_from = taken, now, None
        elif now - self._round_trip_at > FORGET_S:
            # Under a lasting flood each byte waits behind a full window; only an emptier one shows the way's own time.
            self._probe_from, self.size = self._marked, LEAST

    def _note_rate(self, mark: _Mark, rate: float, now: float) -> None:
        if not mark.is_limited and rate <= max(self._rate, self._rate_before):
            return  # the host had no more: says nothing of what the viewer could do
        counts_s = max(RATE_COUNTS_S, 2 * (self._round_trip or 0))
        if now - self._rate_since > counts_s:
            self._rate_before = self._rate if now - self._rate_since <= 2 * counts_s else 0.0
            self._rate, self._rate_since = 0.0, now
        self._rate = max(self._rate, rate)
