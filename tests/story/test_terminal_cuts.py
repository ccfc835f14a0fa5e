"""Connections that break at any byte: nothing is lost and nothing comes twice, in either direction.

A few seconds of random cuts by default; `TEST_MINUTES=10` makes it about ten minutes.
"""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.story.broker import Broker, soon
from tests.story.machine import Machine
from tests.story.page import Page, page
from tests.story.way import Break, Fate

pytestmark = pytest.mark.sshd
EXAMPLES = examples(16, 120)
"""Of each of the two tests; one takes a quarter of a second or so."""
FLOOD = random.Random(7).randbytes(1_500_000)
"""Less than the ring holds: all of it must arrive, however long nobody looks."""

many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
# The first bytes are the handshake, the attach and its answer.
places = st.one_of(st.integers(1, 1500), st.integers(1, 60_000), st.integers(1, 500_000))
fates = st.lists(st.builds(Fate, down=places, up=places, how=st.sampled_from(Break)), min_size=1, max_size=6)
INTERRUPT = -1
typing = st.lists(st.one_of(st.integers(1, 20), st.integers(1, 60_000), st.just(INTERRUPT)), min_size=1, max_size=8)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def become(it: Page, program: str) -> tuple[int, int]:
    """Replace the shell by a program behind a pty that changes no byte. Where its input and output begin."""
    await it.run(f"stty raw -echo; printf 'BE''GIN'; {program}")
    await it.until(b"BEGIN")
    return len(it.typed), it.output.index(b"BEGIN") + len(b"BEGIN")


async def type_all(it: Page, steps: list[int]) -> None:
    """Pseudo-random bytes in messages of these sizes, and interrupts in between."""
    source = random.Random(len(steps))
    for step in steps:
        if step == INTERRUPT:
            await it.interrupt()
        else:
            await it.type(source.randbytes(step))


def pieces_after(it: Page, begin: int) -> list[tuple[int, bytes]]:
    """The output from the offset `begin` on, counted from there."""
    return [
        (max(0, offset - begin), bytes(piece[max(0, begin - offset) :]))
        for offset, piece in it.pieces
        if offset + len(piece) > begin
    ]


def assert_exact(it: Page, begin: int, expected: bytes) -> None:
    """Each byte that arrived is the one of its offset, and only what an interrupt dropped did not arrive."""
    assert it.offset - begin == len(expected)
    assert {gap["reason"] for gap in it.of("gap")} <= {"interrupt"}
    for offset, piece in pieces_after(it, begin):
        assert sha256(piece) == sha256(expected[offset : offset + len(piece)])
    missing = sum(gap["to"] - gap["from"] for gap in it.of("gap"))
    assert sum(len(piece) for _, piece in pieces_after(it, begin)) + missing == len(expected)


@many
@given(fates=fates, steps=typing)
async def test_a_program_that_says_all_again(broker: Broker, web1: Machine, fates: list[Fate], steps: list[int]):
    """What comes back is what was typed, so that one comparison covers both directions and the interrupts."""
    async with page(broker, "web1") as it:
        typed_from, shown_from = await become(it, "exec cat")
        it.fates.extend(fates)
        it.leave()
        await type_all(it, steps)
        await it.wait(lambda: it.offset - shown_from >= len(it.typed) - typed_from, "all of it comes back")
        assert_exact(it, shown_from, bytes(it.typed[typed_from:]))
        await it.wait(lambda: it.input_acked == len(it.typed), "all of it is acknowledged")


@many
@given(fates=fates, steps=typing)
async def test_typing_into_a_flood(
    broker: Broker, web1: Machine, tmp_path_factory: pytest.TempPathFactory, fates: list[Fate], steps: list[int]
):
    folder = tmp_path_factory.mktemp("flood")
    (folder / "flood").write_bytes(FLOOD)
    async with page(broker, "web1") as it:
        (folder / "typed").touch()  # its program may be later than the flood
        typed_from, shown_from = await become(it, f"(cat {folder}/flood &); exec cat > {folder}/typed")
        it.fates.extend(fates)
        it.leave()
        await type_all(it, steps)
        expected = bytes(it.typed[typed_from:])
        await it.wait(lambda: it.offset - shown_from >= len(FLOOD), "all of the flood")
        await soon(lambda: (folder / "typed").stat().st_size >= len(expected), "all that was typed")
        assert_exact(it, shown_from, FLOOD)
        assert sha256((folder / "typed").read_bytes()) == sha256(expected)
