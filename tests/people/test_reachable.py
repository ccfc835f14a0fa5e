"""The authorised query: it and the rule agree, whatever the grants are."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.contrib.auth.models import Group

from terminals.access import Capability, HostFacts, client_address, decide
from terminals.models import Grant
from terminals.reachable import (
    Right,
    decide_access,
    find_host,
    grant_facts,
    host_facts,
    person_facts,
    reachable_hosts,
    rights_on,
)
from tests.people.helpers import make_host
from tunnels.errors import NotFound
from tunnels.models import Host, State

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE = "10.0.0.5"


@pytest.fixture
def hosts(db) -> list[Host]:
    return [
        make_host("web1", site="berlin"),
        make_host("web2", site="berlin", role="web"),
        make_host("db1", site="paris"),
        make_host("bare1"),
        make_host("new1", state=State.PENDING, site="berlin"),
        make_host("old1", state=State.REVOKED, site="berlin"),
    ]


@pytest.fixture
def team(alice, bob) -> Group:
    group = Group.objects.create(name="team")
    group.user_set.add(alice, bob)
    return group


def grant(**facts) -> Grant:
    return Grant.objects.create(**{"logins": ["root"], "capabilities": ["terminal"]} | facts)


def names(person, **where) -> list[str]:
    return [host.name for host in reachable_hosts(person, **{"address": HERE, "now": NOW, **where})]


def test_three_people(hosts, team, alice, bob, charlie):
    grant(person=alice, host=hosts[0])
    grant(group=team, tag_key="site", tag_value="paris")
    assert names(alice) == ["db1", "web1"]
    assert names(bob) == ["db1"]
    assert names(charlie) == []


def by_the_rule(person, hosts: list[HostFacts], address=HERE, now=NOW) -> set[str]:
    """The hosts on which the pure rule allows the person anything at all."""
    question = {
        "person": person_facts(person),
        "grants": [grant_facts(item) for item in Grant.objects.standing().select_related("person", "group")],
        "address": client_address(address),
        "now": now,
    }
    capabilities = [Capability.TERMINAL, Capability.FORWARD]
    return {
        host.name
        for host, login, capability in product(hosts, ["root", "guest"], capabilities)
        if decide(**question, host=host, login=login, capability=capability).allowed
    }


WINDOWS = [
    {},
    {"valid_from": NOW, "valid_until": NOW + HOUR},
    {"valid_from": NOW + HOUR},
    {"valid_until": NOW},
    {"valid_until": NOW - HOUR},
    {"revoked_at": NOW},
]
NETWORKS = [{}, {"networks": ["10.0.0.0/8", "2001:db8::/32"]}, {"networks": ["192.0.2.0/24"]}]


def table(hosts, team, alice, bob) -> list[dict]:
    others = Group.objects.create(name="others")
    to = [{"person": alice}, {"person": bob}, {"group": team}, {"group": others}]
    on = [{"host": host} for host in hosts]
    on += [{"tag_key": "site", "tag_value": "berlin"}, {"tag_key": "role", "tag_value": "berlin"}, {"all_hosts": True}]
    return [{**a, **b, **c, **d} for a, b, c, d in product(to, on, WINDOWS, NETWORKS)]


def test_rule_and_query_agree_on_every_single_grant(hosts, team, alice, bob):
    known = [host_facts(host) for host in hosts]
    for facts in table(hosts, team, alice, bob):
        row = grant(**facts)
        assert set(names(alice)) == by_the_rule(alice, known), facts
        row.delete()


def test_rule_and_query_agree_on_many_grants_at_once(hosts, team, alice, bob, charlie):
    known = [host_facts(host) for host in hosts]
    rows, chance = table(hosts, team, alice, bob), random.Random(7)
    for _ in range(40):
        for facts in chance.sample(rows, 6):
            grant(**facts)
        for person, address in product((alice, bob, charlie), (HERE, "192.0.2.9", None)):
            assert set(names(person, address=address)) == by_the_rule(person, known, address)
        Grant.objects.all().delete()


def test_agree_about_a_person_who_was_disabled(hosts, team, alice, bob, charlie):
    grant(person=alice, all_hosts=True)
    assert names(alice) == ["bare1", "db1", "web1", "web2"]
    type(alice).objects.filter(pk=alice.pk).update(is_active=False)
    assert alice.is_active, "the object at hand is from before"
    assert names(alice) == [] == sorted(by_the_rule(alice, [host_facts(host) for host in hosts]))


def test_two_rights_on_one_host_list_it_once(hosts, team, alice):
    for _ in range(2):
        grant(person=alice, all_hosts=True)
        grant(group=team, tag_key="site", tag_value="berlin")
        grant(person=alice, host=hosts[0])
    assert names(alice) == ["bare1", "db1", "web1", "web2"]


def test_a_name_taken_anew_carries_no_grants_over(alice):
    old = make_host("web1")
    grant(person=alice, host=old)
    Host.objects.filter(pk=old.pk).update(state=State.REVOKED)
    new = Host.objects.create(
        name="web1", state="approved", fingerprint="SHA256:new", tunnel_port=22999, code="X", address="192.0.2.1"
    )
    assert reachable_hosts(alice, address=HERE).count() == 0
    assert not decide_access(person=alice, host=new, login="root", capability=Capability.TERMINAL, address=HERE).allowed


def test_find_host_says_the_same_of_unknown_pending_and_forbidden(hosts, alice, charlie):
    grant(person=alice, all_hosts=True)
    assert find_host(alice, "web1", address=HERE).online is False
    told = {"nowhere": alice, "new1": alice, "old1": alice, "web1": charlie}
    for name, person in told.items():
        with pytest.raises(NotFound) as refused:
            find_host(person, name, address=HERE)
        assert str(refused.value) == f"there is no host {name} that you may reach; ask an admin for a grant"


def test_rights_are_told_by_login_and_never_mixed(hosts, team, alice, bob, charlie):
    web1, new1 = hosts[0], hosts[4]
    grant(person=alice, host=web1, logins=["root", "deploy"], capabilities=["terminal"])
    grant(person=alice, host=web1, logins=["root"], capabilities=["sftp", "exec"])
    grant(group=team, all_hosts=True, logins=["guest"], capabilities=["forward"])
    grant(person=alice, host=new1, logins=["root"])
    rights = rights_on(alice, hosts, address=HERE)
    assert rights[web1.pk] == (
        Right("deploy", (Capability.TERMINAL,)),
        Right("guest", (Capability.FORWARD,)),
        Right("root", (Capability.TERMINAL, Capability.EXEC, Capability.SFTP)),
    )
    assert rights[new1.pk] == ()
    assert rights_on(bob, [web1], address=HERE) == {web1.pk: (Right("guest", (Capability.FORWARD,)),)}
    assert rights_on(charlie, [web1], address=HERE) == {web1.pk: ()}


def test_rights_and_decisions_agree(hosts, team, alice, bob):
    chance = random.Random(3)
    for facts in chance.sample(table(hosts, team, alice, bob), 25):
        grant(**facts, logins=chance.choice([["root"], ["guest"], ["root", "guest"]]))
    rights = rights_on(alice, hosts, address=HERE, now=NOW)
    for host, login, capability in product(hosts, ["root", "guest"], Capability):
        decision = decide_access(person=alice, host=host, login=login, capability=capability, address=HERE, now=NOW)
        told = {right.login: right.capabilities for right in rights[host.pk]}
        assert decision.allowed is (capability in told.get(login, ()))


def test_a_decision_goes_by_the_rows_of_now(hosts, alice):
    row = grant(person=alice, host=hosts[0])
    question = {"person": alice, "host": hosts[0], "login": "root", "capability": Capability.TERMINAL, "address": HERE}
    assert decide_access(**question).grant == row.pk
    Host.objects.filter(pk=hosts[0].pk).update(state=State.REVOKED)
    assert decide_access(**question).reason == "host web1 is revoked"
