"""`tunnels.throttle`: a bucket per source, bounded, by a clock that is passed in."""

from __future__ import annotations

import pytest

from tunnels.throttle import Throttle, source_of


def test_a_burst_then_one_per_interval():
    throttle = Throttle(burst=2, refill_s=3)
    assert [throttle.take("192.0.2.1", 0) for _ in range(3)] == [0, 0, 3]
    assert throttle.take("192.0.2.1", 2) == 1
    assert throttle.take("192.0.2.1", 3) == 0
    assert throttle.take("192.0.2.1", 3) == 3


def test_trying_while_refused_costs_nothing():
    throttle = Throttle(burst=1, refill_s=3)
    assert [throttle.take("192.0.2.1", second / 10) > 0 for second in range(30)] == [False] + [True] * 29
    assert throttle.take("192.0.2.1", 3.01) == 0


def test_a_rest_fills_no_more_than_the_burst():
    throttle = Throttle(burst=2, refill_s=3)
    assert [throttle.take("192.0.2.1", 10_000) == 0 for _ in range(3)] == [True, True, False]


def test_sources_do_not_share():
    throttle = Throttle(burst=1, refill_s=3)
    assert [throttle.take(address, 0) for address in ("192.0.2.1", "192.0.2.2", "::1")] == [0, 0, 0]


def test_the_table_is_bounded_and_forgets_the_quietest():
    throttle = Throttle(burst=1, refill_s=1000, table=10)
    for number in range(100):
        throttle.take(f"192.0.2.{number}", number)
    assert len(throttle) == 10
    assert throttle.take("192.0.2.99", 100) > 0


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_source(address, source):
    assert source_of(address) == source
