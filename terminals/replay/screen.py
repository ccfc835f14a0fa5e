"""What a terminal shows: main and alternate screen, cursor and modes, fed with a program's output. Pure.

It does what the page's emulator (xterm.js 6 without scrollback) does with the same text, which tests compare in a
browser; faster by far than Python emulators that exist, because runs of text are treated as wholes. Left out, since
nothing of it is seen in a recording: titles, links, colours of the palette, mouse and keyboard modes, replies.

Any text is taken. Memory is bounded by the size, which is clamped, and by what a cell may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from terminals.replay.buffer import Row
from terminals.replay.canvas import Canvas
from terminals.replay.parser import Parser
from terminals.replay.styles import parameters, styled

_SLOTS = {"(": 0, ")": 1, "-": 1, "*": 2, ".": 2, "+": 3}
_LOCKS = {"~": 1, "n": 2, "}": 2, "o": 3, "|": 3}
_PRIVATE_ALTERNATE = (47, 1047, 1049)


class Screen(Canvas):
    """Draws what a program sends. `left` and `cleared` hear of rows that go, as `Canvas` says."""

    def __init__(
        self,
        cols: int,
        rows: int,
        *,
        left: Callable[[Row], object] = lambda row: None,
        cleared: Callable[[Iterable[Row]], object] = lambda rows: None,
    ) -> None:
        super().__init__(cols, rows, left=left, cleared=cleared)
        self._parser = Parser(self)

    def feed(self, text: str, time: float = 0) -> None:
        """`time` in seconds is noted in the rows that are written to."""
        self._now = self.buffer.now = time
        self._parser.feed(text)

    # What the parser calls

    printed = Canvas.write

    def controlled(self, control: str) -> None:
        self.can_join = False
        buffer = self.buffer
        if control == "\r\n":
            buffer.x = 0
            self.line_feed()
        elif control == "\r":
            buffer.x = 0
        elif control in "\n\v\f":
            self.line_feed()
        elif control == "\b":
            self.restrict()
            buffer.x = max(buffer.x - 1, 0)
        elif control == "\t":
            if buffer.x < self.cols:
                buffer.x = buffer.next_tab()
        elif control in "\x0e\x0f":
            self.charsets.lock(1 if control == "\x0e" else 0)
        elif control == "\x84":
            self.index()
        elif control == "\x85":
            buffer.x = 0
            self.index()
        elif control == "\x88":
            buffer.tabs.add(buffer.x)

    def escaped(self, function: str) -> None:
        self.can_join = False
        match function:
            case "7":
                self.save()
            case "8":
                self.restore()
            case "D":
                self.index()
            case "E":
                self.buffer.x = 0
                self.index()
            case "H":
                self.buffer.tabs.add(self.buffer.x)
            case "M":
                self.reverse_index()
            case "c":
                self.show_cleared()
                self.reset()
            case "#8":
                self.align()
            case "%@" | "%G":
                self.charsets.lock(0)
                self.charsets.designate(0, "B")
            case "~" | "n" | "}" | "o" | "|":
                self.charsets.lock(_LOCKS[function])
            case _ if len(function) == 2 and function[0] in _SLOTS:
                self.charsets.designate(_SLOTS[function[0]], function[1])

    def sequenced(self, function: str, text: str) -> None:
        self.can_join, could_join = False, self.can_join
        if function == "m":
            self.style = styled(self.style, text)
            return
        given = [value for value, _ in parameters(text)]
        first = given[0]
        if (act := _SEQUENCES.get(function)) is not None:
            act(self, first or 1)
            return
        match function:
            case "H" | "f":
                self.go((given[1] or 1) - 1 if len(given) > 1 else 0, (first or 1) - 1)
            case "J" | "?J":
                self.erase_display(first)
            case "K" | "?K":
                self.erase_line(first)
            case "r":
                self.set_margins(first or 1, given[1] if len(given) > 1 else 0)
            case "h" | "l":
                self._set_modes(given, function == "h")
            case "?h" | "?l":
                for mode in given:
                    self._set_private(mode, function == "?h")
            case "g":
                if first == 0:
                    self.buffer.tabs.discard(self.buffer.x)
                elif first == 3:
                    self.buffer.tabs.clear()
            case "b" if could_join:
                self.repeat(first or 1)
                self.can_join = False
            case "s":
                self.save()
            case "u":
                self.restore()
            case "!p":
                self.has_origin = False
                self.soft_reset()
            case " q":
                self.cursor_style = first if first <= 6 else self.cursor_style

    # Modes

    def _set_modes(self, modes: list[int], is_set: bool) -> None:
        if 4 in modes:
            self.inserts = is_set
        if 20 in modes:
            self.has_newline_mode = is_set

    def _set_private(self, mode: int, is_set: bool) -> None:
        if mode == 6:
            self.has_origin = is_set
            self.go(0, 0)
        elif mode == 7:
            self.wraps = is_set
        elif mode == 25:
            self.is_cursor_shown = is_set
        elif mode == 2 and is_set:
            self.charsets.forget()
        elif mode == 1048:
            (self.save if is_set else self.restore)()
        elif mode in _PRIVATE_ALTERNATE:
            if is_set:
                if mode == 1049:
                    self.save()
                self.enter_alternate()
            else:
                self.leave_alternate()
                if mode == 1049:
                    self.restore()


_SEQUENCES: dict[str, Callable[[Screen, int], None]] = {
    "@": Screen.insert_cells,
    "A": Screen.cursor_up,
    "B": Screen.cursor_down,
    "C": lambda screen, count: screen.move(count, 0),
    "D": lambda screen, count: screen.move(-count, 0),
    "E": Screen.next_line,
    "F": Screen.previous_line,
    "G": lambda screen, column: screen.go(column - 1, screen.buffer.y),
    "I": Screen.tab,
    "L": Screen.insert_rows,
    "M": Screen.delete_rows,
    "P": Screen.delete_cells,
    "S": Screen.scroll_up_by,
    "T": Screen.scroll_down_by,
    "X": Screen.erase_cells,
    "Z": Screen.back_tab,
    "`": lambda screen, column: screen.go(column - 1, screen.buffer.y),
    "a": lambda screen, count: screen.move(count, 0),
    "d": lambda screen, row: screen.go(screen.buffer.x, row - 1),
    "e": lambda screen, count: screen.move(0, count),
}
"""Functions of one number, 1 where it is missing or 0."""
