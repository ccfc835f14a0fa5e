"""Hosts that come and go: what is told, when, and that a restart in between changes nothing."""

from __future__ import annotations

import json

import pytest

from terminals.webhooks.damping import CALM_S, CLOSINGS, SETTLE_S, WINDOW_S, Damper
from terminals.webhooks.news import News
from tests.webhooks.helpers import entry

LONG = 10_000


class Story:
    """Feeds a damper. With `restarts` it goes through JSON after each step, as a broker that is killed all the time."""

    def __init__(self, *, restarts: bool = False, since: float = 0) -> None:
        self.restarts, self.since = restarts, since
        self.damper = Damper({}, since=since)
        self.told: list[News] = []

    def closed(self, at: float, host: str = "web1", reason: str = "agent said goodbye") -> Story:
        return self._feed(entry("tunnel.closed", at, host=host, reason=reason))

    def opened(self, at: float, host: str = "web1") -> Story:
        return self._feed(entry("tunnel.opened", at, host=host))

    def renamed(self, at: float, old: str, new: str) -> Story:
        return self._feed(entry("host.renamed", at, host=new, old=old, name=new))

    def wait(self, until: float) -> Story:
        self.told += self.damper.settle(until)
        self._restart()
        return self

    def _feed(self, facts) -> Story:
        self.told += self.damper.feed(facts)
        self._restart()
        return self

    def _restart(self) -> None:
        if self.restarts:
            self.damper = Damper(json.loads(json.dumps(self.damper.kept())), since=self.since)

    @property
    def words(self) -> list[str]:
        shown = []
        for news in self.told:
            marks = [name for name in ("flapping", "settled") if news.detail.get(name)]
            shown.append(" ".join([news.event, *marks]))
        return shown


@pytest.fixture(params=[False, True], ids=["in one go", "with restarts"])
def story(request) -> Story:
    return Story(restarts=request.param)


def test_a_new_host_is_online_at_once(story):
    assert story.opened(5).words == ["host.online"]
    assert story.wait(6).damper.kept() == {}, "nothing to remember of a calm host"


def test_offline_is_told_when_it_has_not_come_back(story):
    story.closed(100).wait(100 + SETTLE_S - 1)
    assert story.words == []
    story.wait(100 + SETTLE_S)
    assert story.words == ["host.offline"]
    assert story.told[0].detail == {"reason": "agent said goodbye"}
    assert story.told[0].time.endswith("00:01:40+00:00"), "the time at which it went, not at which it is told"
    assert story.wait(LONG).words == ["host.offline"], "once"
    assert story.opened(LONG).words == ["host.offline", "host.online"]


def test_one_that_is_soon_back_is_not_told(story):
    assert story.closed(100).opened(100 + SETTLE_S - 1).wait(LONG).words == []


def test_events_that_are_read_late_are_judged_at_their_own_time(story):
    """As after a database that was away: nobody looked in between."""
    assert story.closed(100).opened(100 + SETTLE_S + 1).words == ["host.offline", "host.online"]


def test_one_that_flaps_is_told_once_and_then_summed_up(story):
    """Down for long enough each time: without damping a pair of events every minute and a half."""
    for at in range(0, 9000, 90):
        story.closed(at).opened(at + 45)
    assert story.words == [*["host.offline", "host.online"] * (CLOSINGS - 1), "host.offline flapping"]
    assert story.wait(9000 - 45 + CALM_S).words[-1] == "host.online settled"
    assert story.told[-1].detail == {"settled": True, "changes": 2 * (100 - CLOSINGS) + 1}
    assert story.wait(10 * LONG).damper.kept() == {}


def test_quick_flapping_is_told_too_although_no_single_one_would_be(story):
    for at in range(0, 60, 2):
        story.closed(at).opened(at + 1)
    assert story.words == ["host.offline flapping"]
    assert story.wait(LONG).words[1:] == ["host.online settled"]


def test_flapping_that_ends_offline(story):
    for at in range(CLOSINGS):
        story.closed(10 * at).opened(10 * at + 1)
    story.closed(100).wait(LONG)
    assert story.words == ["host.offline flapping", "host.offline settled"]


def test_flapping_that_ends_as_it_was_told_adds_nothing(story):
    for at in range(CLOSINGS - 1):
        story.closed(10 * at).opened(10 * at + 1)
    story.closed(100).wait(LONG)
    assert story.words == ["host.offline flapping"]
    assert story.opened(LONG).words[1:] == ["host.online"]


def test_closings_far_apart_are_no_flapping(story):
    for at in range(0, 100 * WINDOW_S, WINDOW_S // 2):
        story.closed(at).opened(at + 5)
    assert story.wait(100 * LONG).words == []


def test_hosts_are_judged_each_for_itself(story):
    story.closed(0, "web1").closed(1, "db1").opened(10, "web1").wait(LONG)
    assert [(news.event, news.host) for news in story.told] == [("host.offline", "db1")]


def test_what_is_told_together_is_in_the_order_in_which_it_happened(story):
    story.closed(1, "db1").closed(2, "web1").closed(3, "app1").wait(LONG)
    assert [news.host for news in story.told] == ["db1", "web1", "app1"]


def test_a_renamed_host_is_the_same_one(story):
    story.closed(0, "web1").renamed(5, "web1", "web2").opened(10, "web2").wait(LONG)
    assert story.words == []


def test_a_restart_of_the_broker_makes_no_host_offline():
    """It went down at 100 and came back at 1000: only from then on could hosts return."""
    story = Story(restarts=True).closed(100)
    story.since = 1000
    story._restart()
    assert story.wait(1000 + SETTLE_S - 1).opened(1000 + SETTLE_S - 1).words == []
    story.closed(2000).wait(2000 + SETTLE_S)
    assert story.words == ["host.offline"]


def test_one_that_does_not_return_after_a_restart_is_told():
    story = Story().closed(100)
    story.since = 1000
    story.restarts = True
    story._restart()
    assert story.wait(1000 + SETTLE_S).words == ["host.offline"]


def test_of_a_crowd_nothing_is_kept_once_it_is_calm(story):
    for number in range(50):
        story.closed(0, f"h{number}").opened(1, f"h{number}")
    assert len(story.damper.kept()) == 50
    assert story.wait(LONG).damper.kept() == {}
