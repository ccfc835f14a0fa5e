"""`terminals.recheck`: every reason that ends a live terminal, and what one round asks the database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from terminals.grants import revoke_grant
from terminals.limits import GrantLimits
from terminals.models import Grant, Person
from terminals.people import disable_person
from terminals.protocol import Close
from terminals.recheck import Standing, Watched, judge, withheld
from terminals.sessions import end_session
from tests.core.rows import give, session_row
from tests.people.helpers import make_host
from tunnels.audit import OPERATOR, Actor
from tunnels.hosts import change_tags, revoke_host
from tunnels.models import Host

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def web1(db) -> Host:
    return make_host("web1", online=True)


@pytest.fixture
def grant(alice, web1) -> Grant:
    return give(alice, web1)


@pytest.fixture
def row(alice, web1, grant):
    return session_row(alice, web1)


def ends(row, web_login: str | None = None):
    return judge([Watched(row.pk, web_login)]).ends.get(row.pk)


def refuse(row, reason: str, code: Close = Close.NOT_ALLOWED) -> None:
    end = ends(row)
    assert end is not None and reason in end.reason and end.code is code


def test_nothing_changed(row):
    assert judge([]) == Standing()
    assert judge([Watched(row.pk, None)]) == Standing({}, {row.pk: GrantLimits()})


def test_the_grant_was_revoked(row, grant):
    revoke_grant(grant=grant, actor=OPERATOR)
    refuse(row, "access was withdrawn: no grant gives alice access to web1")


def test_another_grant_still_allows_it(row, grant, alice, web1):
    give(alice, web1)
    revoke_grant(grant=grant, actor=OPERATOR)
    assert ends(row) is None


def test_the_limits_are_those_of_the_grant_that_allows_it_now(row, grant, alice, web1):
    Grant.objects.filter(pk=grant.pk).update(idle_s=600, grace_s=60)
    give(alice, web1, longest_s=7200)
    asked = [Watched(row.pk, None)]
    assert judge(asked).limits == {row.pk: GrantLimits(grace_s=60, idle_s=600)}, "the oldest that allows decides"
    revoke_grant(grant=grant, actor=OPERATOR)
    assert judge(asked).limits == {row.pk: GrantLimits(longest_s=7200)}


def test_the_person_was_disabled(row, alice, admin):
    disable_person(person=alice, actor=OPERATOR)
    refuse(row, "alice is disabled")


def test_the_host_was_revoked(row, web1):
    revoke_host(host=web1, actor=OPERATOR)
    refuse(row, "host web1 is revoked")


def test_the_person_left_the_group(bob, web1):
    team = Group.objects.create(name="team")
    team.user_set.add(bob)
    Grant.objects.create(group=team, host=web1, logins=["root"], capabilities=["terminal"])
    row = session_row(bob, web1)
    assert ends(row) is None
    team.user_set.remove(bob)
    refuse(row, "no grant gives bob")


def test_the_host_lost_the_tag(alice, web1):
    change_tags(host=web1, tags={"site": "berlin"}, actor=OPERATOR)
    give(alice, None, tag_key="site", tag_value="berlin")
    row = session_row(alice, web1)
    assert ends(row) is None
    change_tags(host=web1, tags={"site": "paris"}, actor=OPERATOR)
    refuse(row, "no grant gives alice")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"valid_until": timezone.now() - DAY}, "not valid at this time"),
        ({"valid_from": timezone.now() + DAY}, "not valid at this time"),
        ({"logins": ["guest"]}, "does not cover login root"),
        ({"capabilities": ["forward"]}, "does not give terminal"),
        ({"networks": ["10.0.0.0/8"]}, "does not hold from 192.0.2.7"),
    ],
)
def test_the_grant_does_not_hold_any_more(row, grant, facts, reason):
    Grant.objects.filter(pk=grant.pk).update(**facts)
    refuse(row, reason)


def test_the_portal_login_ended(row, alice):
    client = Client()
    client.force_login(alice)
    login = alice.web_logins.get()
    assert ends(row, login.login) is None
    client.session.cycle_key()
    assert ends(row, login.login) is None, "with another cookie it is the same login"
    alice.web_logins.update(expire_date=timezone.now() - DAY)
    assert ends(row, login.login).reason == "the portal login that opened this terminal has ended"
    alice.web_logins.all().delete()
    assert ends(row, login.login).code is Close.NOT_ALLOWED
    assert ends(row) is None, "an API token's session has no portal login"


def test_the_row_was_ended_by_its_owner(row):
    end_session(session_id=row.pk, reason="ended by its owner", actor=Actor("alice"))
    refuse(row, "ended by its owner", Close.ENDED)


def test_the_row_was_ended_by_an_admin(row):
    end_session(session_id=row.pk, reason="ended by admin", actor=Actor("admin"))
    refuse(row, "ended by admin", Close.ENDED_BY_ADMIN)


def test_each_is_judged_for_itself(row, web1, bob, charlie):
    give(bob, web1)
    others = [session_row(bob, web1), session_row(charlie, web1), session_row(charlie, web1, login="guest")]
    standing = judge(Watched(one.pk, None) for one in [row, *others])
    assert set(standing.ends) == {one.pk for one in others[1:]}
    assert set(standing.limits) == {row.pk, others[0].pk}


@pytest.mark.parametrize("count", [1, 50])
def test_one_round_asks_no_more_for_fifty_than_for_one(alice, web1, grant, count, django_assert_max_num_queries):
    watched = [Watched(session_row(alice, web1).pk, "some login") for _ in range(count)]
    with django_assert_max_num_queries(8):
        assert len(judge(watched).ends) == count


def test_a_person_who_is_renamed_keeps_the_terminal(row, alice):
    Person.objects.filter(pk=alice.pk).update(username="alice2")
    assert ends(row) is None


def test_the_last_output_of_one_that_has_ended(row, grant):
    """As long as its person might open another."""
    end_session(session_id=row.pk, reason="the program ended")
    assert withheld([row.pk]) == []
    revoke_grant(grant=grant, actor=OPERATOR)
    assert withheld([row.pk]) == [row.pk]
