"""Text from strangers, made safe to show: one line, no control or direction characters, bounded."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""With which a cell of a spreadsheet begins that is computed; the last four are their full-width forms."""
MAX_CELL = 32_000
"""What a spreadsheet takes."""


def is_printable(text: str) -> bool:
    """True when no character controls a terminal, a log line or the direction of writing."""
    return not any(unicodedata.category(char) in _UNSAFE for char in text)


def printable(text: str, limit: int) -> str:
    """`text` with every unsafe character shown as its code point, such as `<U+001B>`, cut to `limit` characters."""
    if not is_printable(text):
        text = "".join(f"<U+{ord(char):04X}>" if unicodedata.category(char) in _UNSAFE else char for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def csv_cell(text: str) -> str:
    """`text` as a cell that a spreadsheet shows and never computes: printable, and no formula.

    An apostrophe before it is how spreadsheets themselves mark a cell as text.
    """
    shown = printable(text, MAX_CELL)
    return f"'{shown}" if shown.lstrip()[:1] in FORMULA else shown


def csv_line(cells: Iterable[str]) -> str:
    """A line of CSV (RFC 4180) with its end. Every cell is quoted, as some spreadsheets part them at semicolons."""
    return ",".join('"' + csv_cell(cell).replace('"', '""') + '"' for cell in cells) + "\r\n"
