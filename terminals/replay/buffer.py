"""The cells of one screen buffer, its cursor and margins, and what moves them. Pure.

A row holds a text and a style for each column. The text of a cell is a character with the marks that join it, " " where
nothing was written, and "" for the second column of a wide character, so that a row's text is its cells joined.
Blank rows are shared between buffers' rows until something is written to them: to clear a large screen costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from terminals.replay.styles import PLAIN, Style
from terminals.replay.widths import width

TAB = 8


@dataclass(slots=True, eq=False)
class Row:
    cells: list[str]
    styles: list[Style]
    is_shared: bool = False
    written: float = 0
    """When it was written to last, by the screen's clock."""
    noted: list[object] | None = None
    """For who collects what was shown."""

    def visible(self, cols: int) -> list[str]:
        """Its first columns: it keeps what it has when a screen becomes narrower."""
        cells = self.cells[:cols]
        if is_wide(cells[-1]):
            cells[-1] = " "  # its second column is beyond the screen
        return cells

    def text(self, cols: int) -> str:
        """What is in its first columns, without the blanks at the end."""
        return "".join(self.visible(cols)).rstrip()

    def insert(self, at: int, count: int, style: Style) -> None:
        """Blank cells at `at`; what leaves at the right is gone."""
        self._part_wide(at, style)
        length = len(self.cells)
        count = min(count, length - at)
        self.cells[at:] = [" "] * count + self.cells[at : length - count]
        self.styles[at:] = [style] * count + self.styles[at : length - count]
        self._part_wide(at + count, style)
        if is_wide(self.cells[-1]):
            self.cells[-1], self.styles[-1] = " ", style

    def delete(self, at: int, count: int, style: Style) -> None:
        """The cells after them move up, blank ones follow."""
        self._part_wide(at, style)
        self._part_wide(at + count, style)
        count = min(count, len(self.cells) - at)
        del self.cells[at : at + count], self.styles[at : at + count]
        self.cells += [" "] * count
        self.styles += [style] * count

    def erase(self, start: int, end: int, style: Style) -> None:
        end = min(end, len(self.cells))
        if start >= end:
            return
        self._part_wide(start, style)
        self._part_wide(end, style)
        self.cells[start:end] = [" "] * (end - start)
        self.styles[start:end] = [style] * (end - start)

    def widen(self, cols: int) -> None:
        if (missing := cols - len(self.cells)) > 0:
            self.cells += [" "] * missing
            self.styles += [PLAIN] * missing

    def _part_wide(self, at: int, style: Style) -> None:
        """A wide character of which only one half is to move or vanish is blanked."""
        if 0 < at < len(self.cells) and self.cells[at] == "":
            self.cells[at - 1 : at + 1] = "  "
            self.styles[at - 1 : at + 1] = [style, style]


def is_wide(cell: str) -> bool:
    return cell != "" and width(cell[0]) == 2


@lru_cache(64)
def blank(cols: int, style: Style) -> Row:
    """A row for everybody: who writes to it makes it their own first."""
    return Row([" "] * cols, [style] * cols, is_shared=True)


@dataclass(slots=True)
class Saved:
    """What DECSC keeps."""

    x: int = 0
    y: int = 0
    style: Style = PLAIN
    charset: str = "B"


class Buffer:
    """`x` may equal the number of columns: the next character wraps. Margins are rows, `bottom` included."""

    def __init__(self, cols: int, rows: int, style: Style = PLAIN) -> None:
        self.now = 0.0
        """Time of what is written, in seconds."""
        self.cols = cols
        self.rows = [blank(cols, style)] * rows
        self.x = self.y = 0
        self.top, self.bottom = 0, rows - 1
        self.tabs = set(range(0, cols, TAB))
        self.saved = Saved()

    def own(self, y: int) -> Row:
        """The row, to be written to."""
        row = self.rows[y]
        if row.is_shared:
            row = self.rows[y] = Row(row.cells[:], row.styles[:])
        row.written = self.now
        return row

    def clear(self, start: int, end: int, style: Style) -> None:
        """Blanks whole rows."""
        if start < end:
            self.rows[start:end] = [blank(self.cols, style)] * (end - start)

    def scroll_up(self, top: int, count: int, style: Style) -> list[Row]:
        """Rows leave at `top`, blank ones come at the bottom margin. Answers those that left."""
        count = min(count, self.bottom - top + 1)
        left = self.rows[top : top + count]
        del self.rows[top : top + count]
        self.rows[self.bottom + 1 - count : self.bottom + 1 - count] = [blank(self.cols, style)] * count
        return left

    def scroll_down(self, top: int, count: int, style: Style) -> None:
        """Blank rows come at `top`, as many leave at the bottom margin."""
        count = min(count, self.bottom - top + 1)
        del self.rows[self.bottom + 1 - count : self.bottom + 1]
        self.rows[top:top] = [blank(self.cols, style)] * count

    def next_tab(self) -> int:
        """Tabs beyond the last column stay for when there are more of them."""
        return min((tab for tab in self.tabs if self.x < tab < self.cols), default=self.cols - 1)

    def previous_tab(self) -> int:
        return max((tab for tab in self.tabs if tab < self.x), default=0)

    def resize(self, cols: int, rows: int) -> list[Row]:
        """Rows are cut where they do not fit, never wrapped anew. Answers those that left at the top."""
        left: list[Row] = []
        excess = len(self.rows) - rows
        if excess > 0:
            below = min(excess, len(self.rows) - self.y - 1)
            del self.rows[len(self.rows) - below :]
            left = self.rows[: excess - below]
            del self.rows[: excess - below]
            self.saved.y = max(self.saved.y - len(left), 0)
        for y, row in enumerate(self.rows):
            if len(row.cells) < cols:
                if row.is_shared and row.styles[0] == PLAIN:
                    self.rows[y] = blank(cols, PLAIN)
                else:
                    self.own(y).widen(cols)
        self.rows += [blank(cols, PLAIN)] * -excess
        self._move_tabs(cols)
        self.cols = cols
        self.x, self.y = min(self.x, cols - 1), min(self.y, rows - 1)
        self.saved.x = min(self.saved.x, cols - 1)
        self.top, self.bottom = 0, rows - 1
        return left

    def _move_tabs(self, cols: int) -> None:
        last = max((tab for tab in self.tabs if tab <= cols), default=0)
        self.tabs.update(range(last, cols, TAB))
