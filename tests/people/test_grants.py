"""The acts on grants: what may be made, what is refused, and that both are on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from terminals.access import Capability
from terminals.grants import create_grant, describe, limits_of, parse_tag, revoke_grant
from terminals.limits import GrantLimits
from terminals.models import Grant
from terminals.reachable import decide_access
from tests.people.helpers import events, last_event
from tunnels.audit import Actor
from tunnels.errors import Conflict, Invalid
from tunnels.models import Host, State

ADMIN = Actor(person="admin", address="192.0.2.1")
NOW = timezone.now()
"""When the tests were collected: this one's turn may come an hour later."""
DAY = timedelta(days=1)


def may(person, host, login="root") -> bool:
    question = {"person": person, "host": host, "login": login, "capability": Capability.TERMINAL}
    return decide_access(**question, address="192.0.2.7").allowed


def test_three_people(alice, bob, charlie, web1):
    team = Group.objects.create(name="team")
    team.user_set.add(bob)
    create_grant(person=alice, host=web1, logins=["root", "guest"], actor=ADMIN)
    create_grant(group=team, host=web1, logins=["guest"], actor=ADMIN)
    assert may(alice, web1)
    assert may(bob, web1, "guest")
    assert not may(bob, web1, "root")
    assert not may(charlie, web1, "guest")


def test_a_grant_is_audited_as_it_was_made(alice, web1):
    grant = create_grant(
        person=alice,
        host=web1,
        logins=["root", "guest", "root"],
        capabilities=["sftp", "terminal"],
        valid_until=NOW + DAY,
        networks=["10.0.0.0/8"],
        actor=ADMIN,
    )
    event = last_event()
    assert (event.event, event.person, event.host, event.address) == ("grant.created", "admin", "web1", "192.0.2.1")
    assert event.detail["grant"] == describe(grant)
    assert (grant.logins, grant.capabilities, grant.created_by) == (["guest", "root"], ["terminal", "sftp"], "admin")


def test_on_a_tag_and_on_all(alice, bob, charlie, web1, db1):
    create_grant(person=alice, tag=("site", "berlin"), logins=["root"], actor=ADMIN)
    create_grant(person=bob, all_hosts=True, logins=["root"], actor=ADMIN)
    assert [may(alice, host) for host in (web1, db1)] == [True, False]
    assert [may(bob, host) for host in (web1, db1)] == [True, True]
    assert [may(charlie, host) for host in (web1, db1)] == [False, False]


REFUSED = [
    ({"person": None}, "exactly one"),
    ({"host": None}, "exactly one"),
    ({"all_hosts": True}, "exactly one"),
    ({"tag": ("site", "berlin")}, "exactly one"),
    ({"host": None, "tag": ("Site", "berlin")}, "not a tag"),
    ({"host": None, "tag": ("site", "")}, "not a tag"),
    ({"logins": []}, "between one login and 64"),
    ({"logins": [f"l{number}" for number in range(65)]}, "between one login and 64"),
    ({"logins": ["root", "two words"]}, "'two words' is not a login"),
    ({"logins": ["-oProxyCommand=x"]}, "is not a login"),
    ({"logins": ["root\n"]}, "is not a login"),
    ({"logins": ["*"]}, "is not a login"),
    ({"logins": [""]}, "is not a login"),
    ({"capabilities": []}, "at least one capability"),
    ({"capabilities": ["terminal", "admin"]}, "'admin' is no capability"),
    ({"valid_until": NOW - DAY}, "over already"),
    ({"valid_from": NOW + DAY, "valid_until": NOW + DAY}, "end before it begins"),
    ({"valid_from": datetime(2026, 1, 1)}, "needs its zone"),
    ({"valid_until": datetime(9999, 12, 31, tzinfo=UTC)}, "between the years"),
    ({"networks": ["10.0.0.1/8"]}, "not a network"),
    ({"networks": ["everywhere"]}, "not a network"),
    ({"networks": [f"10.0.{number}.0/24" for number in range(65)]}, "at most 64"),
    ({"limits": GrantLimits(grace_s=9)}, "grace: a limit of a grant is between 10 s and 30 d"),
    ({"limits": GrantLimits(idle_s=0)}, "idle: a limit of a grant is between 10 s and 30 d"),
    ({"limits": GrantLimits(longest_s=-1)}, "longest: a limit of a grant is between 10 s and 30 d"),
    ({"limits": GrantLimits(600, 600, 30 * 86_400 + 1)}, "longest: a limit of a grant is between 10 s and 30 d"),
]


@pytest.mark.parametrize(("facts", "reason"), REFUSED)
def test_what_makes_no_sense_is_refused(alice, web1, facts, reason):
    good = {"person": alice, "host": web1, "logins": ["root"], "actor": ADMIN}
    create_grant(**good).delete()
    with pytest.raises(Invalid, match=reason):
        create_grant(**{**good, **facts})
    assert not Grant.objects.exists()
    assert events()[-1] == "!grant.created"
    assert reason in last_event().detail["reason"]


def test_not_to_a_person_and_a_group(alice, web1):
    with pytest.raises(Invalid, match="exactly one"):
        create_grant(person=alice, group=Group.objects.create(name="g"), host=web1, logins=["root"], actor=ADMIN)


@pytest.mark.parametrize("state", [State.PENDING, State.REJECTED, State.REVOKED])
def test_not_on_a_host_that_is_not_approved(alice, web1, state):
    Host.objects.filter(pk=web1.pk).update(state=state)
    with pytest.raises(Conflict, match="web1 is not approved"):
        create_grant(person=alice, host=web1, logins=["root"], actor=ADMIN)


def test_revoked_once(alice, bob, web1, alices, bobs):
    assert may(alice, web1)
    revoke_grant(grant=alices, actor=ADMIN)
    assert not may(alice, web1)
    assert last_event().detail["grant"]["id"] == alices.pk
    with pytest.raises(Conflict, match="revoked already"):
        revoke_grant(grant=Grant.objects.get(pk=alices.pk), actor=ADMIN)
    assert events()[-2:] == ["grant.revoked", "!grant.revoked"]
    assert Grant.objects.standing().get() == bobs, "the neighbour's grant stands"


def test_networks_are_kept_in_one_form(alice, web1):
    grant = create_grant(
        person=alice, host=web1, logins=["root"], networks=[" 10.0.0.1 ", "2001:DB8::/32", "10.0.0.1"], actor=ADMIN
    )
    assert grant.networks == ["10.0.0.1/32", "2001:db8::/32"]


def test_a_tag_as_people_write_it():
    assert parse_tag("site=berlin=mitte") == ("site", "berlin=mitte")
    for text in ("site", "=berlin", "Site=berlin", "site=", ""):
        with pytest.raises(Invalid):
            parse_tag(text)


@pytest.mark.parametrize("limits", [GrantLimits(), GrantLimits(10, 30 * 86_400), GrantLimits(longest_s=7200)])
def test_limits_are_kept_audited_and_decided_with(alice, bob, web1, bobs, limits):
    grant = create_grant(person=alice, host=web1, logins=["root"], limits=limits, actor=ADMIN)
    assert limits_of(Grant.objects.get(pk=grant.pk)) == limits
    told = last_event().detail["grant"]
    assert (told["grace"], told["idle"], told["longest"]) == (limits.grace_s, limits.idle_s, limits.longest_s)
    question = {"host": web1, "login": "root", "capability": Capability.TERMINAL, "address": "192.0.2.7"}
    assert decide_access(person=alice, **question).limits == limits
    assert decide_access(person=bob, **question).limits == GrantLimits(), "which allows nothing"


def test_no_grant_has_no_limits():
    assert limits_of(None) == GrantLimits()
