"""`terminals.viewer`: what may be in flight to one browser, and what it is told when it fell behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.history import History
from terminals.protocol import WINDOW, BadMessage, Close
from terminals.viewer import MAX_SLICE
from tests.core.wires import viewer


def test_no_more_than_the_window_is_unacknowledged():
    history, it = History(), viewer()
    history.append(bytes(3 * WINDOW))
    it.pump(history)
    assert it.sent == WINDOW and max(map(len, it.wire.binary)) <= MAX_SLICE
    it.pump(history)
    assert it.sent == WINDOW
    it.ack(1000)
    it.pump(history)
    assert it.sent == WINDOW + 1000


def test_nothing_goes_to_a_wire_that_is_not_read():
    history, it = History(1000), viewer()
    it.wire.writable = False
    history.append(b"x" * 500)
    it.pump(history)
    assert it.sent == 0 and it.wire.binary == [] and it.wire.messages == []


def test_the_wire_may_fill_up_in_the_middle():
    history, it = History(), viewer()
    history.append(bytes(WINDOW))
    taken = it.wire.send_bytes
    it.wire.send_bytes = lambda data: (taken(data), setattr(it.wire, "writable", False))
    it.pump(history)
    assert it.sent == MAX_SLICE


def test_behind_the_ring_it_is_skipped_forward_and_told_once():
    history, it = History(100), viewer()
    history.append(b"a" * 100)
    it.wire.writable = False
    for _ in range(50):  # a flood, of which a viewer that does not read hears nothing
        history.append(b"b" * 90)
        it.pump(history)
    assert it.wire.messages == []
    it.wire.writable = True
    it.pump(history)
    assert it.wire.messages[0] == {"type": "gap", "from": 0, "to": 4510, "reason": "slow"}
    assert it.wire.kinds == ["gap", "screen"]
    assert it.wire.output == history.read(4510, 4600) and it.sent == 4600 and it.acked == 4510


@pytest.mark.parametrize(("wanted", "start"), [(None, 50), (0, 50), (50, 50), (70, 70), (150, 150)])
def test_where_output_goes_on(wanted, start):
    history, it = History(100), viewer()
    for _ in range(30):
        history.append(b"x" * 5)
    restore = it.start_at(history, wanted)
    assert (it.sent, it.acked) == (start, start) and bool(restore) == (wanted is None or wanted < start)


def test_offsets_that_cannot_be_are_bad():
    history, it = History(100), viewer()
    history.append(b"x" * 150)
    with pytest.raises(BadMessage, match="beyond the end"):
        it.start_at(history, 151)
    it.start_at(history, None)
    it.pump(history)
    with pytest.raises(BadMessage, match="beyond what was sent"):
        it.ack(151)
    it.ack(150)
    it.ack(60)  # late, and no way back
    assert it.acked == 150


def test_closing_happens_once_and_says_why():
    it = viewer()
    it.close(Close.LIMIT, "too long", retry_after_s=None)
    it.close(Close.ENDED, "again")
    it.tell("notice", text="into the void")
    assert it.wire.messages == [{"type": "closing", "reason": "too long", "retry_after": None}]
    assert it.wire.closed == (4411, "too long")
    history = History()
    history.append(b"late")
    it.pump(history)
    assert it.wire.binary == []


STEPS = st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(0, 200), st.booleans()), max_size=60)


@given(STEPS)
def test_a_browser_can_put_the_stream_together(steps):
    """Whatever is printed, acknowledged and blocked: bytes arrive in order, and gaps say exactly what is missing."""
    history, it, model = History(64), viewer(), b""
    for step in steps:
        if isinstance(step, bool):
            it.wire.writable = step
        elif isinstance(step, int):
            it.ack(min(it.sent, it.acked + step))
        else:
            history.append(step)
            model += step
        it.pump(history)
        assert it.sent - it.acked <= WINDOW
    it.wire.writable = True
    it.pump(history)
    missing = sum(gap["to"] - gap["from"] for gap in it.wire.of("gap"))
    assert len(it.wire.output) + missing == len(model) == it.sent
    if not missing:
        assert it.wire.output == model
