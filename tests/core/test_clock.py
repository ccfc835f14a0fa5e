"""`tunnels.clock`: what has expired stays so, whatever somebody does to the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from terminals.access import Capability
from terminals.api_tokens import authenticate, create_api_token
from terminals.grants import create_grant
from terminals.models import WebLogin
from terminals.reachable import decide_access
from terminals.recheck import live_web_logins
from tests.people.helpers import make_host
from tunnels import audit, clock
from tunnels.audit import OPERATOR, Event
from tunnels.errors import NotAllowed
from tunnels.tokens import create_enrollment_token, redeem

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class FakeTime:
    """A wall clock that can be set, and a monotonic one that cannot."""

    def __init__(self) -> None:
        self.wall = NOON
        self.monotonic = 1000.0

    def pass_by(self, span: timedelta) -> None:
        self.wall += span
        self.monotonic += span.total_seconds()


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@pytest.fixture
def made(fake) -> clock.Clock:
    return clock.Clock(lambda: fake.wall, lambda: fake.monotonic)


def test_it_is_the_wall_clock_as_long_as_that_goes_on(fake, made):
    assert made.now() == NOON
    fake.pass_by(HOUR)
    assert made.now() == NOON + HOUR


def test_set_back_it_goes_on_from_where_it_was(fake, made):
    made.now()
    fake.wall -= DAY
    assert made.now() == NOON
    fake.pass_by(HOUR)
    assert made.now() == NOON + HOUR, "nothing lives longer for it"


def test_set_forth_and_back(fake, made):
    fake.wall += DAY
    assert made.now() == NOON + DAY
    fake.wall -= DAY
    fake.pass_by(HOUR)
    assert made.now() == NOON + DAY + HOUR, "what has expired in between stays so"
    made.forget()
    assert made.now() == NOON + HOUR


def test_a_machine_that_slept(fake, made):
    made.now()
    fake.wall += HOUR  # the monotonic clock stands still meanwhile
    assert made.now() == NOON + HOUR


def test_it_is_told_what_time_it_has_been(fake, made):
    made.see(NOON - HOUR)
    assert made.now() == NOON
    made.see(NOON + HOUR)
    fake.pass_by(HOUR)
    assert made.now() == NOON + 2 * HOUR


@pytest.fixture
def a_day_later(monkeypatch):
    """Whatever was made expires, is seen to have, and the clock is set back to before that; in another process."""
    really = timezone.now

    def jump() -> None:
        with monkeypatch.context() as later:
            later.setattr(timezone, "now", lambda: really() + 2 * DAY)
            with transaction.atomic():
                audit.record(Event.SETTING_CHANGED, what="something happens")
        clock.forget()
        assert clock.learn() > DAY

    return jump


@pytest.mark.django_db
def test_nothing_expired_lives_again(a_day_later, alice, client):
    until = timezone.now() + DAY
    _, token = create_api_token(person=alice, name="x", expires_at=until, actor=OPERATOR)
    _, secret = create_enrollment_token(name="x", expires_in_s=86400, actor=OPERATOR)
    host = make_host("web1")
    create_grant(
        person=alice, host=host, logins=["root"], capabilities=[Capability.TERMINAL], valid_until=until, actor=OPERATOR
    )
    client.force_login(alice)
    login = WebLogin.objects.get()

    def admits() -> list[bool]:
        decision = decide_access(
            person=alice, host=host, login="root", capability=Capability.TERMINAL, address="127.0.0.1"
        )
        page = client.get("/account/")
        return [
            authenticate(token, clock.now()) is not None,
            decision.allowed,
            page.status_code == 200,
            not login.login or bool(live_web_logins([login.login])),
        ]

    assert admits() == [True] * 4
    a_day_later()
    assert not any(admits()[:3])
    with pytest.raises(NotAllowed):
        redeem(secret=secret, name="web2", actor=OPERATOR)
    # Who logs in now does so by the same clock, and is not out again at once.
    client.force_login(alice)
    assert client.get("/account/").status_code == 200


@pytest.mark.django_db
def test_the_times_of_the_audit_never_go_back(a_day_later):
    a_day_later()
    with transaction.atomic():
        entry = audit.record(Event.SETTING_CHANGED, what="later")
    times = list(audit.AuditEvent.objects.order_by("sequence").values_list("time", flat=True))
    assert times == sorted(times) and times[-1] == entry.time


@pytest.mark.django_db
def test_an_admin_may_say_that_the_clock_is_right(a_day_later):
    from django.core.management import call_command

    a_day_later()
    call_command("accept_clock")
    assert abs(clock.now() - timezone.now()) < HOUR
    clock.forget()
    assert clock.learn() < HOUR, "also the next process"
    newest = audit.AuditEvent.objects.order_by("-sequence").first()
    assert newest.event == "setting.changed" and "set back" in newest.detail["setting"]
    assert audit.verify(audit.AuditEvent.objects.order_by("sequence")) is None
