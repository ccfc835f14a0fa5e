"""What a terminal shows, and how it is drawn on: main and alternate screen, cursor, margins and modes. Pure.

It does what the page's emulator does; which sequence of a program stands for what is `terminals.replay.screen`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from terminals.replay.buffer import Buffer, Row, Saved
from terminals.replay.charsets import Charsets
from terminals.replay.styles import PLAIN, erased
from terminals.replay.widths import NOT_ONE, width

MIN_COLS, MIN_ROWS, MAX_SIZE = 2, 1, 1000
MAX_CELL = 8
"""Characters of one cell: what is more than a few marks on a letter is dropped."""


class Canvas:
    """`left` is called with each row that leaves the main screen at its top, `cleared` before rows are blanked by hand
    or by another screen: with these and a look at the end, all text that was ever shown is met."""

    def __init__(
        self,
        cols: int,
        rows: int,
        *,
        left: Callable[[Row], object],
        cleared: Callable[[Iterable[Row]], object],
    ) -> None:
        self.cols, self.rows = clamped(cols, rows)
        self._left, self._cleared = left, cleared
        self._now = 0.0
        self.has_newline_mode = False
        self.reset()

    def reset(self) -> None:
        self.main = Buffer(self.cols, self.rows)
        self.main.now = self._now
        self.alternate: Buffer | None = None
        self._alternate_saved = Saved()
        self.buffer = self.main
        self.cursor_style = 0
        self.soft_reset()

    def soft_reset(self) -> None:
        self.style = PLAIN
        self.charsets = Charsets()
        self.wraps, self.inserts, self.has_origin, self.is_cursor_shown = True, False, False, True
        self.buffer.top, self.buffer.bottom = 0, self.rows - 1
        self.buffer.saved = Saved()
        self.can_join = False

    @property
    def is_alternate(self) -> bool:
        return self.buffer is not self.main

    @property
    def x(self) -> int:
        return self.buffer.x

    @property
    def y(self) -> int:
        return self.buffer.y

    def lines(self) -> list[str]:
        """The text of what is shown, row by row, without blanks at the ends."""
        return [row.text(self.cols) for row in self.buffer.rows]

    def resize(self, cols: int, rows: int) -> None:
        if (size := clamped(cols, rows)) == (self.cols, self.rows):
            return
        self.cols, self.rows = size
        self.can_join = False
        for row in self.main.resize(self.cols, self.rows):
            self._left(row)
        if self.alternate is not None:
            self.alternate.resize(self.cols, self.rows)

    # Text

    def write(self, text: str) -> None:
        """Printable characters, at the cursor."""
        text = self.charsets.translated(text)
        if self.inserts:
            for character in text:
                self._print_one(character, width(character))
        elif text.isascii():
            self._print_run(text)
            self.can_join = True
        else:
            self._print_mixed(text)

    def _print_mixed(self, text: str) -> None:
        at = 0
        for match in NOT_ONE.finditer(text):
            if match.start() > at:
                self._print_run(text[at : match.start()])
                self.can_join = True
            self._print_one(match[0], width(match[0]))
            at = match.end()
        if at < len(text):
            self._print_run(text[at:])
            self.can_join = True

    def _print_run(self, text: str) -> None:
        """Characters of one column each."""
        buffer, cols, style = self.buffer, self.cols, self.style
        at, length = 0, len(text)
        while at < length:
            x = buffer.x
            if x >= cols:
                if self.wraps:
                    self._wrap()
                else:
                    buffer.x, at = cols - 1, length - 1
                continue
            row = buffer.own(buffer.y)
            end = min(x + length - at, cols)
            cells = row.cells
            if cells[x] == "" and x:
                cells[x - 1] = " "
            cells[x:end] = text[at : at + end - x]
            row.styles[x:end] = [style] * (end - x)
            if end < cols and cells[end] == "":
                cells[end] = " "
            at += end - x
            buffer.x = end

    def _print_one(self, character: str, columns: int) -> None:
        buffer, cols, style = self.buffer, self.cols, self.style
        if columns == 0 and self.can_join and buffer.x:
            self._join(character)
            return
        if columns == 0 and buffer.x >= cols:
            return
        if buffer.x + columns > cols:
            if self.wraps:
                if buffer.x < cols:
                    buffer.own(buffer.y).erase(buffer.x, cols, style)
                self._wrap()
            else:
                buffer.x = cols - 1
                if columns == 2:
                    return
        row, x = buffer.own(buffer.y), min(buffer.x, cols - 1)
        if self.inserts:
            row.insert(x, columns, style)
        row.erase(x, x + max(columns, 1), style)
        row.cells[x : x + 2] = [character, ""] if columns == 2 else [character, *row.cells[x + 1 : x + 2]]
        buffer.x = x + max(columns, 1)
        self.can_join = columns > 0

    def _join(self, mark: str) -> None:
        cells = self.buffer.own(self.buffer.y).cells
        x = self.buffer.x - 1
        x -= cells[x] == "" and x > 0
        if len(cells[x]) < MAX_CELL:
            cells[x] += mark

    def repeat(self, count: int) -> None:
        """The character before the cursor again, a row of it at the most."""
        buffer = self.buffer
        x = min(buffer.x, self.cols) - 1
        x -= buffer.rows[buffer.y].cells[x] == "" and x > 0
        if x >= 0 and (cell := buffer.rows[buffer.y].cells[x]):
            for _ in range(min(count, self.cols)):
                for character in cell:
                    self._print_one(character, width(character))

    def _wrap(self) -> None:
        self.buffer.x = 0
        self._down()

    def line_feed(self) -> None:
        buffer = self.buffer
        if self.has_newline_mode:
            buffer.x = 0
        self._down()
        if buffer.x >= self.cols:
            buffer.x -= 1

    def _down(self) -> None:
        buffer = self.buffer
        if buffer.y == buffer.bottom:
            self._scroll_up(buffer.top, 1)
        elif buffer.y < self.rows - 1:
            buffer.y += 1

    def _scroll_up(self, top: int, count: int) -> None:
        rows = self.buffer.scroll_up(top, count, erased(self.style))
        if top == 0 and self.buffer is self.main:
            for row in rows:
                self._left(row)
        else:
            self._cleared(rows)

    def index(self) -> None:
        self.restrict()
        self._down()

    def reverse_index(self) -> None:
        self.restrict()
        buffer = self.buffer
        if buffer.y == buffer.top:
            self._scroll_down(buffer.top, 1)
        else:
            buffer.y = max(buffer.y - 1, 0)
            self.restrict()

    # Cursor

    def restrict(self, most: int | None = None) -> None:
        buffer = self.buffer
        buffer.x = min(buffer.x, self.cols - 1 if most is None else most)
        if self.has_origin:
            buffer.y = min(buffer.bottom, max(buffer.top, buffer.y))

    def go(self, x: int, y: int) -> None:
        buffer = self.buffer
        if self.has_origin:
            y = min(max(buffer.top + y, buffer.top), buffer.bottom)
        buffer.x = min(max(x, 0), self.cols - 1)
        buffer.y = min(max(y, 0), self.rows - 1)

    def move(self, x: int, y: int) -> None:
        """By so many columns and rows. In origin mode a move starts at the margin once more, as in the emulator."""
        self.restrict()
        self.go(self.buffer.x + x, self.buffer.y + y)

    def cursor_up(self, count: int) -> None:
        room = self.buffer.y - self.buffer.top
        self.move(0, -min(room, count) if room >= 0 else -count)

    def cursor_down(self, count: int) -> None:
        room = self.buffer.bottom - self.buffer.y
        self.move(0, min(room, count) if room >= 0 else count)

    def next_line(self, count: int) -> None:
        self.cursor_down(count)
        self.buffer.x = 0

    def previous_line(self, count: int) -> None:
        self.cursor_up(count)
        self.buffer.x = 0

    def tab(self, count: int) -> None:
        for _ in range(min(count, self.cols) if self.buffer.x < self.cols else 0):
            self.buffer.x = self.buffer.next_tab()

    def back_tab(self, count: int) -> None:
        for _ in range(min(count, self.cols) if self.buffer.x < self.cols else 0):
            self.buffer.x = self.buffer.previous_tab()

    def save(self) -> None:
        self.buffer.saved = Saved(self.buffer.x, self.buffer.y, self.style, self.charsets.current)

    def restore(self) -> None:
        saved = self.buffer.saved
        self.buffer.x, self.buffer.y = saved.x, min(saved.y, self.rows - 1)
        self.style, self.charsets.current = saved.style, saved.charset
        self.restrict()

    def set_margins(self, top: int, bottom: int) -> None:
        if not 0 < bottom <= self.rows:
            bottom = self.rows
        if bottom > top:
            self.buffer.top, self.buffer.bottom = top - 1, bottom - 1
            self.go(0, 0)

    # Erasing, inserting, scrolling

    def show_cleared(self) -> None:
        self._cleared(self.buffer.rows)

    def erase_display(self, kind: int) -> None:
        self.restrict(self.cols)
        buffer, style = self.buffer, erased(self.style)
        if kind == 0:
            if buffer.y == 0 and buffer.x == 0:
                self.show_cleared()
            self._erase_row(buffer.x, self.cols)
            buffer.clear(buffer.y + 1, self.rows, style)
        elif kind == 1:
            self._erase_row(0, buffer.x + 1)
            buffer.clear(0, buffer.y, style)
        elif kind == 2:
            self.show_cleared()
            buffer.clear(0, self.rows, style)

    def erase_line(self, kind: int) -> None:
        self.restrict(self.cols)
        ends = {0: (self.buffer.x, self.cols), 1: (0, self.buffer.x + 1), 2: (0, self.cols)}.get(kind)
        if ends:
            self._erase_row(*ends)

    def _erase_row(self, start: int, end: int) -> None:
        buffer, style = self.buffer, erased(self.style)
        if start == 0 and end >= len(buffer.rows[buffer.y].cells):
            buffer.clear(buffer.y, buffer.y + 1, style)
        else:
            buffer.own(buffer.y).erase(start, min(end, self.cols), style)

    def erase_cells(self, count: int) -> None:
        self.restrict()
        self._erase_row(self.buffer.x, self.buffer.x + count)

    def insert_cells(self, count: int) -> None:
        self.restrict()
        self.buffer.own(self.buffer.y).insert(self.buffer.x, count, erased(self.style))

    def delete_cells(self, count: int) -> None:
        self.restrict()
        self.buffer.own(self.buffer.y).delete(self.buffer.x, count, erased(self.style))

    def insert_rows(self, count: int) -> None:
        self.restrict()
        buffer = self.buffer
        if buffer.top <= buffer.y <= buffer.bottom:
            buffer.scroll_down(buffer.y, count, erased(self.style))
            buffer.x = 0

    def delete_rows(self, count: int) -> None:
        self.restrict()
        buffer = self.buffer
        if buffer.top <= buffer.y <= buffer.bottom:
            self._cleared(buffer.scroll_up(buffer.y, count, erased(self.style)))
            buffer.x = 0

    def scroll_up_by(self, count: int) -> None:
        self._scroll_up(self.buffer.top, count)

    def scroll_down_by(self, count: int) -> None:
        self.buffer.scroll_down(self.buffer.top, count, PLAIN)

    def _scroll_down(self, top: int, count: int) -> None:
        self.buffer.scroll_down(top, count, erased(self.style))

    def align(self) -> None:
        """DECALN: E everywhere."""
        self.show_cleared()
        row = Row(["E"] * self.cols, [self.style] * self.cols, is_shared=True)
        self.go(0, 0)
        self.buffer.rows[self.buffer.y :] = [row] * (self.rows - self.buffer.y)
        self.go(0, 0)

    # The alternate screen

    def enter_alternate(self) -> None:
        if self.is_alternate:
            return
        self.alternate = Buffer(self.cols, self.rows, erased(self.style))
        self.alternate.saved = self._alternate_saved
        self.alternate.x, self.alternate.y = self.main.x, self.main.y
        self.alternate.now = self._now
        self.buffer = self.alternate

    def leave_alternate(self) -> None:
        if self.alternate is None:
            return
        self.show_cleared()
        self.main.x, self.main.y = self.alternate.x, self.alternate.y
        self._alternate_saved = self.alternate.saved
        self.buffer, self.alternate = self.main, None
        self.main.now = self._now


def clamped(cols: int, rows: int) -> tuple[int, int]:
    """The size that the emulator takes for this one."""
    return min(max(cols, MIN_COLS), MAX_SIZE), min(max(rows, MIN_ROWS), MAX_SIZE)
