from __future__ import annotations

import pytest

from tunnels.agent.backoff import Pace, delay_s, in_words, retry_hint_s, spread

PACE = Pace()


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"), [(0, 0.25, 0.5), (1, 0.5, 1), (3, 2, 4), (7, 30, 60), (10_000, 30, 60)]
)
def test_delay_doubles_up_to_the_longest(attempt: int, shortest: float, longest: float) -> None:
    assert delay_s(attempt, 0.0, PACE) == shortest
    assert delay_s(attempt, 1.0, PACE) == longest


def test_hint_is_a_floor_and_bounded() -> None:
    assert delay_s(0, 0.0, PACE, 5) == 5
    assert delay_s(0, 1.0, PACE, 4) == 5
    assert delay_s(7, 1.0, PACE, 5) == 60
    assert delay_s(0, 0.0, PACE, 1e9) == 600


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("node draining, retry after 5 s", 5),
        ("Retry after 2.5s", 2.5),
        ("retry after 5 so", None),
        ("retry after -5 s", None),
        ("retry after 99999999 s", None),
        ("replaced", None),
    ],
)
def test_retry_hint(reason: str, hint: float | None) -> None:
    assert retry_hint_s(reason) == hint


def test_spread_and_words() -> None:
    assert (spread(2, 0), spread(2, 1)) == (1.5, 2.5)
    assert [in_words(seconds) for seconds in (0.01, 0.44, 3.2, 60)] == ["0.1 s", "0.4 s", "3 s", "60 s"]
