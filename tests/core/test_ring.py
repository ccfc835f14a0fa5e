"""`terminals.ring`: whatever is appended, the newest bytes can be read by their absolute offset, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.ring import SMALL, Ring

CHUNKS = st.lists(st.one_of(st.binary(max_size=12), st.binary(min_size=20, max_size=60)), max_size=60)


@given(chunks=CHUNKS, capacity=st.integers(1, 50), data=st.data())
def test_equals_a_plain_bytes_model(chunks, capacity, data):
    ring, model = Ring(capacity), b""
    for chunk in chunks:
        ring.append(chunk)
        model += chunk
        assert ring.head == len(model)
        assert ring.start <= ring.head <= ring.start + capacity
        assert ring.head - ring.start == min(len(model), capacity)
        start = data.draw(st.integers(ring.start, ring.head))
        end = data.draw(st.integers(start, ring.head))
        assert ring.read(start, end) == model[start:end]
    assert ring.read(ring.start, ring.head) == model[ring.start :]


@given(sizes=st.lists(st.integers(0, 2 * SMALL), max_size=30))
def test_chunks_around_the_size_that_is_joined(sizes):
    ring, model = Ring(5 * SMALL), b""
    for number, size in enumerate(sizes):
        chunk = bytes([number]) * size
        ring.append(chunk)
        model += chunk
    assert ring.read(ring.start, ring.head) == model[ring.start :]


@pytest.mark.parametrize(("start", "end"), [(0, 3), (4, 3), (2, 9), (-1, 2), (9, 9)])
def test_what_is_not_there_is_an_error(start, end):
    ring = Ring(6)
    ring.append(b"01234567")
    assert (ring.start, ring.head) == (2, 8)
    with pytest.raises(ValueError, match="not in 2 to 8"):
        ring.read(start, end)


def test_single_keys_are_kept_in_few_chunks():
    ring = Ring(1024 * 1024)
    for _ in range(50_000):
        ring.append(b"x")
    assert len(ring._chunks) <= 50_000 // SMALL + 1
    assert ring.read(0, 50_000) == b"x" * 50_000
