"""Control sequences that bring any emulator of the same size to where a screen is. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from terminals.replay.buffer import TAB, Buffer, Row
from terminals.replay.charsets import ASCII, Charsets
from terminals.replay.screen import Screen
from terminals.replay.styles import PLAIN, Style, sequence
from terminals.replay.widths import width

MAX_CHARACTERS = 4 * 1024 * 1024
"""A screen of 1000 by 1000 cells that all look different is given without its colours."""

_DESIGNATES = "()*+"
_LOCK = ("\x0f", "\x0e", "\x1bn", "\x1bo")


def snapshot(screen: Screen) -> str:
    """Starts with a full reset. The size is not part of it."""
    whole = "".join(_parts(screen, has_styles=True))
    if len(whole) > MAX_CHARACTERS:
        whole = "".join(_parts(screen, has_styles=False))
    return whole


def _parts(screen: Screen, *, has_styles: bool) -> Iterator[str]:
    yield "\x18\x1bc\x1b[20l"
    yield from _drawn(screen.main, screen.cols, has_styles)
    if screen.alternate is not None:
        yield from _saved(screen.main)
        yield "\x1b[0m\x1b[?47h"
        yield from _drawn(screen.alternate, screen.cols, has_styles)
    yield from _saved(screen.buffer)
    yield from (f"\x1b[{sign}{mode}{'h' if is_set else 'l'}" for sign, mode, is_set in _modes(screen))
    yield f"\x1b[{screen.cursor_style} q"
    yield from _cursor(screen)


def _modes(screen: Screen) -> list[tuple[str, int, bool]]:
    return [
        ("", 4, screen.inserts),
        ("", 20, screen.has_newline_mode),
        ("?", 7, screen.wraps),
        ("?", 25, screen.is_cursor_shown),
    ]


def _drawn(buffer: Buffer, cols: int, has_styles: bool) -> Iterator[str]:
    """Its rows, tabs and margins; what it is given starts blank."""
    for y, row in enumerate(buffer.rows):
        if not row.is_shared or row.styles[0] != PLAIN or row.cells[0] != " ":
            yield from _row(row, y, cols, has_styles)
    if buffer.tabs != set(range(0, cols, TAB)):
        yield "\x1b[3g"
        yield from (f"\x1b[{tab + 1}G\x1bH" for tab in sorted(buffer.tabs) if tab < cols)
    if (buffer.top, buffer.bottom) != (0, len(buffer.rows) - 1):
        yield f"\x1b[{buffer.top + 1};{buffer.bottom + 1}r"


def _row(row: Row, y: int, cols: int, has_styles: bool) -> Iterator[str]:
    cells, styles = row.visible(cols), row.styles
    end = cols
    while end and cells[end - 1] == " " and (styles[end - 1] == PLAIN or not has_styles):
        end -= 1
    current: Style | None = None
    if end:
        yield f"\x1b[{y + 1};1H"
    for x in range(end):
        cell, style = cells[x], styles[x] if has_styles else PLAIN
        # A control sequence between two characters keeps a mark from joining the one before.
        if style != current or (cell > "~" and width(cell[0]) == 0):
            yield sequence(style)
            current = style
        yield cell if has_styles else cell[:1]


def _saved(buffer: Buffer) -> Iterator[str]:
    """What DECSC kept."""
    saved = buffer.saved
    yield f"\x1b[{saved.y + 1};{saved.x + 1}H{sequence(saved.style)}\x1b({saved.charset}\x1b7\x1b(B"


def _charsets(charsets: Charsets) -> Iterator[str]:
    for slot, name in enumerate(charsets.slots):
        designated = charsets.current if slot == charsets.level else name
        if designated != ASCII:
            yield f"\x1b{_DESIGNATES[slot]}{designated}"
    if charsets.level:
        yield _LOCK[charsets.level]


def _cursor(screen: Screen) -> Iterator[str]:
    """After whatever else moves it, with the style, and the character sets that would change what is drawn."""
    buffer = screen.buffer
    y = buffer.y - buffer.top if screen.has_origin else buffer.y
    row, x = buffer.rows[buffer.y], min(buffer.x, screen.cols) - 1
    x -= row.cells[x] == "" and x > 0
    again = f"\x1b[{y + 1};{x + 1}H{sequence(row.styles[x])}{row.cells[x]}"
    rest = [sequence(screen.style), *_charsets(screen.charsets)]
    if screen.has_origin:
        yield "\x1b[?6h"
    if screen.can_join and not screen.inserts and screen.charsets.current == ASCII and row.styles[x] == screen.style:
        yield from (*rest, again)  # a mark that comes next joins the character before it, which is printed once more
    elif buffer.x < screen.cols:
        yield from (f"\x1b[{y + 1};{buffer.x + 1}H", *rest)
    else:
        yield from (again, *rest)  # only a character in the last column makes the next one wrap
