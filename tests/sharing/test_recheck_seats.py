"""Every reason for which somebody must leave another person's terminal, and that nobody else has to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from terminals.api_tokens import revoke_api_token
from terminals.grants import revoke_grant
from terminals.models import ApiToken, SecondFactorRule, Share, WebLogin
from terminals.people import disable_person
from terminals.recheck import Watched, judge
from terminals.recheck_seats import Sitting, judge_seats
from terminals.seats import Basis, owner_seat
from tests.core.rows import give
from tests.people.helpers import ADDRESS, Api, make_token
from tests.sharing.links import admission, ask, hear, share
from tunnels.audit import OPERATOR

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(alice, terminal, alices):
    return Api(alice)


@pytest.fixture
def visitors(owner, row, bob, charlie, web1, house):
    """charlie observes by a grant, bob and a guest came by links of their own."""
    guest, observe = Api(), give(charlie, web1, capabilities=["observe"])
    first, second = share(owner, row.pk), share(owner, row.pk, guests=True)
    seated = {
        "bob": house.enter(Api(bob), row.pk, admission=admission(owner, Api(bob), row.pk, first["secret"])),
        "guest": house.enter(guest, row.pk, admission=admission(owner, guest, row.pk, second["secret"], name="eve")),
        "charlie": house.enter(Api(charlie), row.pk),
    }
    return {**seated, "observe": observe, "first": first}


def gone(visitors) -> dict[str, str]:
    """Who was sent away, with the reason."""
    closed = {name: visitors[name].wire.closed for name in ("bob", "guest", "charlie")}
    assert all(close is None or close[0] == 4403 for close in closed.values())
    return {name: close[1] for name, close in closed.items() if close}


def test_nothing_changed(house, visitors, alices):
    house.recheck()
    assert gone(visitors) == {} and alices.wire.closed is None


def test_a_share_that_expired(house, visitors, alices):
    Share.objects.filter(pk=visitors["first"]["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    house.recheck()
    assert gone(visitors) == {"bob": "the share has expired"} and alices.wire.closed is None


def test_a_share_that_was_revoked_in_another_process(house, visitors):
    Share.objects.filter(pk=visitors["first"]["id"]).update(revoked_at=timezone.now())
    house.recheck()
    assert gone(visitors) == {"bob": "alice revoked the share"}


def test_an_owner_who_may_not_share_any_more(house, visitors, grant, alice, web1, alices):
    give(alice, web1)
    revoke_grant(grant=grant, actor=OPERATOR)
    house.recheck()
    assert set(gone(visitors)) == {"bob", "guest"}
    assert "alice may not share this terminal any more" in gone(visitors)["bob"] and alices.wire.closed is None


def test_an_observer_without_the_right(house, visitors):
    revoke_grant(grant=visitors["observe"], actor=OPERATOR)
    house.recheck()
    assert set(gone(visitors)) == {"charlie"} and "access was withdrawn" in gone(visitors)["charlie"]


def test_people_who_are_disabled(house, visitors, bob, charlie, admin):
    for person in (bob, charlie):
        disable_person(person=person, actor=OPERATOR)
    house.recheck()
    assert gone(visitors) == {"bob": "bob is disabled", "charlie": "charlie is disabled"}


def test_a_portal_login_that_has_ended(house, visitors, bob):
    WebLogin.objects.filter(person=bob, login=visitors["bob"].seat.basis.web_login).delete()
    house.recheck()
    assert gone(visitors) == {"bob": "the portal login of this window has ended"}


def test_a_second_factor_that_is_required_from_now_on(house, visitors, web1):
    SecondFactorRule.objects.create(host=web1)
    house.recheck()
    assert set(gone(visitors)) == {"bob", "guest", "charlie"}


@pytest.mark.parametrize("how", ["revoked", "expired", "other scope"])
def test_an_api_token_that_is_not_valid_any_more(house, row, charlie, web1, alices, how):
    give(charlie, web1, capabilities=["observe"])
    it = house.enter(Api(token=make_token(charlie, "sessions"), csrf=False), row.pk)
    house.recheck()
    assert it.wire.closed is None
    _end_token(how)
    house.recheck()
    assert it.wire.closed == (4403, "the API token of this window is not valid any more")
    assert alices.wire.closed is None


@pytest.mark.parametrize("how", ["revoked", "expired", "other scope"])
def test_a_terminal_that_was_opened_with_such_a_token_ends(row, alice, how):
    make_token(alice, "sessions")
    watched = [Watched(row.pk, api_token=ApiToken.objects.get().pk)]
    assert judge(watched).ends == {}
    _end_token(how)
    assert judge(watched).ends[row.pk].reason == "the API token that opened this terminal is not valid any more"


def _end_token(how: str) -> None:
    token = ApiToken.objects.get()
    match how:
        case "revoked":
            revoke_api_token(token=token, actor=OPERATOR)
        case "expired":
            ApiToken.objects.update(expires_at=timezone.now())
        case "other scope":
            ApiToken.objects.update(scopes=["hosts"])


def test_who_waits_waits_in_vain(house, owner, row, bob, alices):
    link = share(owner, row.pk)
    asked = ask(Api(bob), link["secret"])
    Share.objects.update(expires_at=timezone.now())
    house.recheck()
    assert hear(Api(bob), asked)["state"] == "ended"
    house.terminals.call(lambda: None)
    assert alices.wire.of("viewers")[-1]["asking"] == []


def test_an_admission_that_is_gone_gets_no_ticket(house, owner, row, bob):
    link = share(owner, row.pk)
    secret = admission(owner, Api(bob), row.pk, link["secret"])
    body = {"role": "watcher", "admission": secret}
    spare = Api(bob).post(f"/sessions/{row.pk}/tickets", body).json()["ticket"]
    Share.objects.update(revoked_at=timezone.now())
    house.recheck()
    assert Api(bob).post(f"/sessions/{row.pk}/tickets", body).status_code == 404
    assert house.terminals.tickets.redeem(spare, session=row.pk) is None


def test_one_round_asks_few_questions(house, visitors, row, django_assert_max_num_queries):
    sittings = [
        Sitting(f"{name} {number}", row.pk, visitors[name].seat)
        for name in ("bob", "guest", "charlie")
        for number in range(50)
    ]
    with django_assert_max_num_queries(20):
        assert judge_seats(sittings) == {}


def test_an_owners_window_rests_on_its_own_login(house, row, alices, alice):
    basis = Basis(person=alice.pk, address=ADDRESS, web_login="ended long ago")
    reasons = judge_seats([Sitting("a", row.pk, owner_seat("alice", basis=basis))])
    assert reasons == {"a": "the portal login of this window has ended"}
