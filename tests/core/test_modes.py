"""`terminals.modes`: however output is cut into chunks, the modes that it set are known at its head and checkpoints."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.modes import MAX_TITLE, Modes

CHECKPOINT_EVERY = 64 * 1024
DEFAULT = Modes(CHECKPOINT_EVERY).restore()
SEQUENCES = [
    b"\x1b[?1049h",
    b"\x1b[?1049l",
    b"\x1b[?1;2004h",
    b"\x1b[?25l",
    b"\x1b[?1002h\x1b[?1006h",
    b"\x1b[5;20r",
    b"\x1b[r",
    b"\x1b[?6h",
    b"\x1b[4h",
    b"\x1b[4l",
    b"\x1b[2 q",
    b"\x1b=",
    b"\x1b>",
    b"\x1b(0",
    b"\x1b(B",
    b"\x1b]0;vim\x07",
    b"\x1b]2;tail -f\x1b\\",
    b"\x1b[!p",
    b"\x1bc",
    b"\x1b[31m",
    b"text\r\n",
    "grüße ✓".encode(),
]


def after(*chunks: bytes) -> str:
    modes = Modes(CHECKPOINT_EVERY)
    for chunk in chunks:
        modes.feed(chunk)
    return modes.restore()


@pytest.mark.parametrize(
    ("output", "restored"),
    [
        (b"\x1b[?1049h", "\x1b[?1049h"),
        (b"\x1b[?47h", "\x1b[?1049h"),
        (b"\x1b[?1h", "\x1b[?1h"),
        (b"\x1b[?25l", "\x1b[?25l"),
        (b"\x1b[?7l", "\x1b[?7l"),
        (b"\x1b[?2004;1004h", "\x1b[?1004h\x1b[?2004h"),
        (b"\x1b[?1000h\x1b[?1003h\x1b[?1006h", "\x1b[?1003h\x1b[?1006h"),
        (b"\x1b[2;9r", "\x1b[2;9r"),
        (b"\x1b[4h", "\x1b[4h"),
        (b"\x1b[6 q", "\x1b[6 q"),
        (b"\x1b=", "\x1b="),
        (b"\x1b(0", "\x1b(0"),
        (b"\x1b]0;a title\x07", "\x1b]2;a title\x07"),
        (b"\x1b]2;another\x1b\\", "\x1b]2;another\x07"),
    ],
)
def test_what_was_set_is_set_again(output: bytes, restored: str):
    assert restored in after(output)
    assert restored not in DEFAULT
    assert after(output, b"\x1bc") == DEFAULT, "a full reset takes all of it back"


@pytest.mark.parametrize(
    ("output", "taken_back"),
    [
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?1h", b"\x1b[?1l"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?1002h", b"\x1b[?1002l"),
        (b"\x1b[3;9r", b"\x1b[r"),
        (b"\x1b=", b"\x1b>"),
        (b"\x1b(0", b"\x1b(B"),
    ],
)
def test_what_was_taken_back_is_not(output: bytes, taken_back: bytes):
    assert after(output, taken_back) == DEFAULT


def test_an_emulator_that_is_not_fresh_is_told_what_is_off():
    """After a gap it may have modes on that were taken back meanwhile."""
    for sequence in ("\x1b[?1047l", "\x1b[?1l", "\x1b[?2004l", "\x1b[?1000l", "\x1b[4l", "\x1b[?25h", "\x1b>"):
        assert sequence in DEFAULT


@given(st.lists(st.sampled_from(SEQUENCES), max_size=30), st.lists(st.integers(0, 400), max_size=20))
def test_cuts_do_not_matter(sequences: list[bytes], cuts: list[int]):
    whole = b"".join(sequences)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    chunks = [whole[start:end] for start, end in pairwise(edges)]
    assert after(*chunks) == after(whole)


def test_an_endless_sequence_is_let_go():
    assert after(b"\x1b]0;" + b"x" * 5000, b"\x1b[?1h") == after(b"\x1b[?1h")
    assert len(after(b"\x1b]0;" + b"x" * 399 + b"\x07")) <= len(DEFAULT) + MAX_TITLE


def test_a_checkpoint_has_the_modes_of_its_own_offset():
    modes = Modes(CHECKPOINT_EVERY)
    modes.feed(b"\x1b[?1049h" + b"x" * CHECKPOINT_EVERY)
    at = CHECKPOINT_EVERY + 8
    modes.feed(b"\x1b[?1049l")
    assert modes.checkpoint(1) == (at, after(b"\x1b[?1049h"))
    assert modes.checkpoint(0) == (0, DEFAULT)
    modes.forget_before(1)
    assert modes.checkpoint(0) == (at, after(b"\x1b[?1049h"))
    assert modes.checkpoint(at + 1) == (at + 8, DEFAULT), "none there yet: the head"


def test_a_checkpoint_is_not_within_a_sequence_or_a_character():
    modes = Modes(CHECKPOINT_EVERY)
    modes.feed(b"x" * CHECKPOINT_EVERY + b"\x1b[?10")
    modes.feed(b"49h" + "é".encode()[:1])
    modes.feed("é".encode()[1:])
    modes.feed(b"!")
    assert modes.checkpoint(1) == (CHECKPOINT_EVERY + 11, after(b"\x1b[?1049h"))


def test_a_stream_that_is_never_between_two_has_checkpoints_all_the_same():
    modes = Modes(CHECKPOINT_EVERY)
    for _ in range(6):
        modes.feed(b"\xc3" * (CHECKPOINT_EVERY // 2))
    assert modes.checkpoint(1)[0] == 2 * CHECKPOINT_EVERY
