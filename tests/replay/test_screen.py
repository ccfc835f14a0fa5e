"""The screen model by itself: whatever comes, it does not fail, and does not grow."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from terminals.replay import snapshot as snapshots
from terminals.replay.canvas import MAX_CELL, MAX_SIZE
from terminals.replay.screen import Screen
from terminals.replay.snapshot import snapshot
from tests.effort import examples

ANYTHING = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("\x1b[]()?;:0123456789hlmHJKrPX^_\\\x07\x18\x9b\x9d\x90a漢\u0301\r\n"), max_size=60),
)


@settings(max_examples=examples(100, 3000), deadline=None)
@given(st.lists(st.one_of(ANYTHING, st.tuples(st.integers(-5, 2000), st.integers(-5, 2000))), max_size=8))
def test_it_takes_anything(steps):
    screen = Screen(20, 5)
    for step in steps:
        if isinstance(step, str):
            screen.feed(step)
        else:
            screen.resize(*step)
    assert len(screen.lines()) == screen.rows <= MAX_SIZE
    assert 0 <= screen.x <= screen.cols <= MAX_SIZE
    assert 0 <= screen.y < screen.rows
    again = Screen(screen.cols, screen.rows)
    again.feed(snapshot(screen))
    assert again.lines() == screen.lines()


@settings(max_examples=examples(100, 3000), deadline=None)
@given(
    st.text(max_size=80), st.text(st.sampled_from("\x1b[]?;0123456789hlmHJKP_\\\x07\x18\x9ba"), max_size=80), st.data()
)
def test_where_it_is_cut_makes_no_difference(text, sequences, data):
    output = text + sequences
    at = data.draw(st.integers(0, len(output)))
    whole, parts = Screen(10, 4), Screen(10, 4)
    whole.feed(output)
    parts.feed(output[:at])
    parts.feed(output[at:])
    assert (parts.lines(), parts.x, parts.y) == (whole.lines(), whole.x, whole.y)


def test_numbers_without_end_are_nothing_special():
    screen = Screen(80, 24)
    for final in "ABCDEFGHIJKLMPSTXZ`abdefgmr@":
        screen.feed(f"x\x1b[{'9' * 5000}{final}\x1b[{';' * 5000}{final}\x1b[{'1:' * 5000}{final}")
    assert len(screen.lines()) == 24


def test_a_string_that_never_ends_is_not_kept():
    screen = Screen(80, 24)
    screen.feed("before\x1b]0;")
    for _ in range(100):
        screen.feed("x" * 10_000)
    screen.feed("\x07after")
    assert screen.lines()[0] == "beforeafter"


def test_marks_without_end_stay_in_one_cell_and_do_not_fill_it():
    screen = Screen(80, 24)
    screen.feed("e" + "\u0301" * 100_000)
    assert len(screen.lines()[0]) == MAX_CELL


def test_a_snapshot_is_bounded(monkeypatch):
    monkeypatch.setattr(snapshots, "MAX_CHARACTERS", 200 * 250)
    screen = Screen(200, 200)
    row = "".join(f"\x1b[38;2;{n % 256};{n // 256};7;48;2;9;{n % 251};1me\u0301\u0302\u0303" for n in range(200))
    screen.feed("\r\n".join([row] * 200))
    assert 200 * 200 < len(snapshot(screen)) < 200 * 250


def test_rows_that_leave_and_are_cleared_are_told():
    left, cleared = [], []
    screen = Screen(
        10, 2, left=lambda row: left.append(row.text(10)), cleared=lambda rows: cleared.extend(r.text(10) for r in rows)
    )
    screen.feed("one\r\ntwo\r\nthree")
    assert left == ["one"]
    screen.feed("\x1b[?1049h\x1b[Hvim\x1b[?1049l")
    assert cleared == ["vim", ""]
    screen.feed("\x1b[2J")
    assert cleared[2:] == ["two", "three"]


def test_a_tab_stays_on_a_screen_that_has_become_narrower():
    screen = Screen(20, 2)
    screen.resize(5, 2)
    screen.feed("a\tb")
    assert screen.lines() == ["a   b", ""]


def test_the_size_that_it_has_changes_nothing():
    screen = Screen(3, 2)
    screen.feed("abc")
    screen.resize(3, 2)
    screen.feed("d")
    assert screen.lines() == ["abc", "d"]
