"""`tunnels.sqlite.turns`: one after the other, in the order in which they came, and nobody's turn is lost."""

from __future__ import annotations

import random
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.story.broker import until
from tunnels.sqlite.turns import Turns

LONG_S = 60


@pytest.fixture
def turns() -> Turns:
    return Turns()


def came_in_order(turns: Turns, pool: ThreadPoolExecutor, came: list[int], number: int) -> list[Future[None]]:
    """Start so many, each when the one before waits. What each does in its turn is to say so."""

    def wait(one: int) -> None:
        with turns.turn(LONG_S):
            came.append(one)

    waiting, before = [], len(turns)
    for one in range(number):
        waiting.append(pool.submit(wait, one))
        until(lambda one=one: len(turns) == before + one + 1, "it waits")
    return waiting


def test_each_in_the_order_in_which_they_came(turns):
    came: list[int] = []
    with ThreadPoolExecutor(20) as pool:
        with turns.turn(0):
            waiting = came_in_order(turns, pool, came, 20)
            assert came == []
        for each in waiting:
            each.result(LONG_S)
    assert came == list(range(20)) and len(turns) == 0


def test_who_comes_again_and_again_overtakes_nobody(turns):
    """What SQLite's own lock allows, and why there is a queue."""
    came: list[int] = []
    with ThreadPoolExecutor(5) as pool:
        with turns.turn(0):
            came_in_order(turns, pool, came, 5)
        with turns.turn(LONG_S):
            assert came == list(range(5))


def test_never_two_at_once(turns):
    inside: list[int] = []

    def enter(one: int) -> None:
        for _ in range(200):
            with turns.turn(LONG_S):
                inside.append(one)
                assert inside == [one]
                inside.remove(one)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(8)))


def test_one_that_fails_lets_the_next_one_in(turns):
    came: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ZeroDivisionError), turns.turn(0):
            waiting = came_in_order(turns, pool, came, 2)
            1 / 0  # noqa: B018
        for each in waiting:
            each.result(LONG_S)
    assert came == [0, 1]


def test_who_has_waited_for_too_long_gives_their_place_up(turns):
    came: list[int] = []
    with ThreadPoolExecutor(3) as pool:
        with turns.turn(0):
            came_in_order(turns, pool, came, 1)
            with pytest.raises(TimeoutError), turns.turn(0.05):
                pytest.fail("it is somebody else's turn")
            assert len(turns) == 1
            came_in_order(turns, pool, came, 2)
        with turns.turn(LONG_S):
            assert came == [0, 0, 1]


def test_no_turn_is_lost_to_those_who_give_up_at_that_very_moment(turns):
    def hurry(seed: int) -> int:
        dice, missed = random.Random(seed), 0
        for _ in range(300):
            try:
                with turns.turn(dice.random() / 1000):
                    pass
            except TimeoutError:
                missed += 1
        return missed

    begun, stop = threading.Event(), threading.Event()

    def dawdle() -> None:
        while not stop.is_set():
            with turns.turn(LONG_S):
                begun.set()
                stop.wait(0.0005)

    with ThreadPoolExecutor(9) as pool:
        slow = pool.submit(dawdle)
        assert begun.wait(LONG_S)
        missed = sum(pool.map(hurry, range(8)))
        stop.set()
        slow.result(LONG_S)
    assert missed > 0
    with turns.turn(0):
        assert len(turns) == 0


def test_interrupted_while_waiting(turns):
    """Ctrl-C in a management command."""
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.turn(0):
            holding.set()
            let_go.wait(LONG_S)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def press(thread: int) -> None:
        until(lambda: len(turns) == 1, "it waits")
        time.sleep(0.1)
        signal.pthread_kill(thread, signal.SIGALRM)

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(hold)
        assert holding.wait(LONG_S)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                pressed = pool.submit(press, threading.get_ident())
                with turns.turn(LONG_S):
                    pytest.fail("it is somebody else's turn")
        finally:
            let_go.set()
            pressed.result(LONG_S)
            signal.signal(signal.SIGALRM, before)
        held.result(LONG_S)
    with turns.turn(0):
        assert len(turns) == 0
