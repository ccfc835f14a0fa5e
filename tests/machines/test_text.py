"""`tunnels.text`: whatever strangers send, what is shown is one bounded line that controls nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnels.text import is_printable, printable

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
