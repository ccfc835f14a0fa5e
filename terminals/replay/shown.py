"""What stood on a screen, line by line, with the time when it did: for searching. Pure, and bounded."""

from __future__ import annotations

from collections.abc import Iterable

from terminals.replay.buffer import Row

MAX_CHARACTERS = 32 * 1024 * 1024
SAME_WITHIN_S = 60
"""A line that is there again after this is noted again."""
MOST_KNOWN = 50_000
STOOD_S = 0.5
"""What stands for so long has been seen..."""
LOOK_S = 1.0
"""... and while all keeps changing, a look is taken this often."""


class Shown:
    """`take` rows that leave or are cleared, `look` at the screen before something new comes."""

    def __init__(self) -> None:
        self._lines: list[list[object]] = []
        self._known: dict[str, float] = {}
        self._size = 0
        self._looked = self._fed = 0.0
        self.cut_s: float | None = None
        """What was shown after this is left out, since it was too much."""

    def take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if not row.is_shared:
                self._note(row)

    def look(self, rows: Iterable[Row], now: float) -> None:
        """`rows` are on the screen, and something comes at `now`."""
        if now - self._fed >= STOOD_S or now - self._looked >= LOOK_S:
            self.take(row for row in rows if row.written >= self._looked)
            self._looked = now
        self._fed = now

    def lines(self) -> list[tuple[float, str]]:
        """In order of time."""
        return sorted((time, text) for time, text in self._lines)  # type: ignore[misc]

    def _note(self, row: Row) -> None:
        text = "".join(row.cells).strip()
        if not text or self.cut_s is not None:
            return
        if row.noted is not None and text.startswith(str(row.noted[1])):
            # The same line, to which more was written.
            self._size += len(text) - len(str(row.noted[1]))
            row.noted[:] = [row.written, text]
        elif row.written - self._known.get(text, -SAME_WITHIN_S) >= SAME_WITHIN_S:
            row.noted = [row.written, text]
            self._lines.append(row.noted)
            self._size += len(text)
        else:
            return
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[text] = row.written
        if self._size > MAX_CHARACTERS:
            self.cut_s = row.written
