"""`tunnels.text`: whatever strangers send, what is shown is one bounded line that controls nothing."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnels.text import csv_cell, csv_line, is_printable, printable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT, st.integers(1, 200))
def test_what_is_shown_is_safe_and_bounded(text, limit):
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert is_printable(shown)
    assert "\n" not in shown and "\x1b" not in shown
    shown.encode()  # no lone surrogates


@given(ANY_TEXT)
def test_printable_text_stays_as_it_is(text):
    if is_printable(text):
        assert printable(text, len(text) or 1) == text


@given(ANY_TEXT)
def test_printable_has_no_control_or_format_characters(text):
    assert is_printable(text) == all(unicodedata.category(char) not in UNSAFE for char in text)


UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", "<U+001B>[2J"), ("a\nb", "a<U+000A>b"), ("\u202ex", "<U+202E>x"), ("Jörg 日本", "Jörg 日本")],
)
def test_unsafe_characters_are_made_visible(text, shown):
    assert printable(text, 100) == shown


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "  =1", "\uff1d1", "\xa0=1", "=", "-"], ids=ascii
)
def test_a_cell_is_never_computed(text):
    assert csv_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\u202e=1", "\ufeff=1", "\x00=1"], ids=ascii)
def test_what_hides_a_formula_is_made_visible(text):
    assert csv_cell(text) == f"<U+{ord(text[0]):04X}>=1"


@given(ANY_TEXT)
def test_a_cell_begins_with_nothing_that_is_computed(text):
    cell = csv_cell(text)
    assert is_printable(cell) and cell.strip()[:1] not in set("=+-@\t\r")


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_a_line_is_read_back_as_its_cells(cells):
    [row] = csv.reader(io.StringIO(csv_line(cells), newline=""))
    assert row == [csv_cell(cell) for cell in cells]
