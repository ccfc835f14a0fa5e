"""`terminals.prompt`: one line, edited as a terminal would, of which the rest belongs to the shell."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.prompt import MAX_ANSWER, Answer

TYPED = [
    (b"secret\r", "secret"),
    (b"secret\n", "secret"),
    (b"\r", ""),
    ("pässwörd€\r".encode(), "pässwörd€"),
    (b"wrong\x15right\r", "right"),
    (b"abc\x7f\x7fx\r", "ax"),
    (b"abc\x08d\r", "abd"),
    (b"\x7f\x7fab\r", "ab"),
    ("aé\x7fb\r".encode(), "ab"),
    ("a€𝄞\x7f\x7f\r".encode(), "a"),
    (b"ab\x80\x7fc\r", "ac"),  # a stray continuation byte goes with what it follows
    (b"a\x01\x1b\tb\r", "ab"),
    (b"ab\x03", None),
    (b"ab\x04", None),
    (b"\xff\r", "\ufffd"),
]


@pytest.mark.parametrize(("typed", "answer"), TYPED)
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_is_typed(typed, answer, at_once):
    it = Answer(echo=False)
    shown = b""
    for data in [typed] if at_once else [bytes([byte]) for byte in typed]:
        part, rest = it.feed(data)
        shown += part
        assert rest == b""
    assert await it.done == answer
    assert shown == (b"^C\r\n" if answer is None else b"\r\n")


async def test_with_echo_the_line_is_seen_and_erased():
    it = Answer(echo=True)
    assert it.feed(b"abc")[0] == b"abc"
    assert it.feed(b"\x7f")[0] == b"\b \b"
    assert it.feed(b"\x15")[0] == b"\b \b\b \b"
    assert it.feed(b"\x7f")[0] == b""
    assert it.feed(b"x\r")[0] == b"x\r\n"
    assert await it.done == "x"


async def test_what_follows_the_line_is_not_ours():
    it = Answer(echo=False)
    assert it.feed(b"secret\rls -l\r") == (b"\r\n", b"ls -l\r")
    assert it.feed(b"more") == (b"", b"more")
    assert await it.done == "secret"


async def test_the_line_is_bounded_and_then_forgotten():
    it = Answer(echo=False)
    it.feed(b"x" * 10 * MAX_ANSWER + b"\r")
    assert len(await it.done) == MAX_ANSWER
    assert it._line == b""


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_every_byte_is_ours_or_the_shells(chunks):
    async def feed() -> None:
        it, after = Answer(echo=False), b""
        for chunk in chunks:
            after += it.feed(chunk)[1]
        typed = b"".join(chunks)
        ends = [typed.index(bytes([key])) for key in b"\r\n\x03\x04" if bytes([key]) in typed]
        assert it.done.done() == bool(ends)
        assert after == (typed[min(ends) + 1 :] if ends else b"")

    asyncio.run(feed())
