"""`terminals.window`: simulated viewers of all speeds and distances; the window keeps them busy, and hardly more."""

from __future__ import annotations

from collections import deque

import pytest

from terminals.window import INITIAL, LEAST, MOST, Window

MB = 1_000_000
ACK_EVERY = 16 * 1024
SLICE = 8 * 1024


def flood(
    window: Window, *, rate: float, round_trip_s: float, seconds: float = 8.0, start: float = 0.0
) -> tuple[float, float]:
    """A flood to a viewer that parses `rate` bytes a second: the bytes a second shown of late, and the delay in s."""
    now, step = start, 0.001
    sent = parsed = acked = reported = 0
    on_the_way: deque[tuple[float, int]] = deque()  # (arrives at, offset), to the viewer
    back: deque[tuple[float, int]] = deque()
    arrived, half_way = 0, 0
    while now < start + seconds:
        now += step
        while sent < acked + window.size:
            sent += min(SLICE, acked + window.size - sent)
            on_the_way.append((now + round_trip_s / 2, sent))
        window.sent(sent, now, is_limited=True)
        while on_the_way and on_the_way[0][0] <= now:
            arrived = on_the_way.popleft()[1]
        parsed = min(arrived, parsed + int(rate * step))
        while parsed - reported >= ACK_EVERY:
            reported += ACK_EVERY
            back.append((now + round_trip_s / 2, reported))
        while back and back[0][0] <= now:
            acked = back.popleft()[1]
            window.acknowledged(acked, now)
        if now < start + seconds / 2:
            half_way = parsed
    return (parsed - half_way) / (seconds / 2), window.size / rate


@pytest.mark.parametrize("rate", [0.5 * MB, MB, 5 * MB, 20 * MB])
@pytest.mark.parametrize("round_trip_s", [0.001, 0.02, 0.1])
def test_it_keeps_a_viewer_busy_and_hardly_more(rate: float, round_trip_s: float):
    window = Window()
    shown, delay_s = flood(window, rate=rate, round_trip_s=round_trip_s)
    possible = min(rate, MOST / (round_trip_s + 0.002))
    assert shown > 0.75 * possible
    assert delay_s <= max(LEAST / rate, 1.6 * round_trip_s + 0.06)


def test_it_stays_between_its_bounds():
    slow, fast = Window(), Window()
    flood(slow, rate=50_000, round_trip_s=0.001)
    flood(fast, rate=200 * MB, round_trip_s=0.2)
    assert (slow.size, fast.size) == (LEAST, MOST)


def test_echoes_say_nothing():
    """The browser acknowledges them by a timer of its own: neither rate nor round trip is measured by them."""
    window = Window()
    for index in range(1000):
        window.sent(index + 1, index * 0.1, is_limited=False)
        window.acknowledged(index + 1, index * 0.1 + 0.05)
    assert window.size == INITIAL


def test_a_network_that_got_slower_is_noticed():
    window = Window()
    flood(window, rate=5 * MB, round_trip_s=0.001)
    near = window.size
    window.restart(0)
    shown, _ = flood(window, rate=5 * MB, round_trip_s=0.08, seconds=30, start=10.0)
    assert window.size > 2 * near
    assert shown > 3 * MB


def test_a_terminal_that_got_slower_is_noticed_soon():
    """Plain text, and then coloured text, which takes it ten times as long."""
    window = Window()
    flood(window, rate=40 * MB, round_trip_s=0.001)
    window.restart(0)
    flood(window, rate=4 * MB, round_trip_s=0.001, seconds=0.6, start=20.0)
    assert window.size / (4 * MB) < 0.05
