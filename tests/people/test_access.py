"""The rule as a table, and what must hold whatever the grants are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.access import (
    Capability,
    Decision,
    GrantFacts,
    HostFacts,
    PersonFacts,
    applies,
    client_address,
    covers,
    decide,
)
from terminals.limits import GrantLimits

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE = ip_address("10.0.0.5")

ALICE = PersonFacts("alice", frozenset(), active=True)
BOB = PersonFacts("bob", frozenset({"team"}), active=True)
CHARLIE = PersonFacts("charlie", frozenset({"guests"}), active=True)
WEB1 = HostFacts("id-web1", "web1", "approved", frozenset({("site", "berlin")}))
DB1 = HostFacts("id-db1", "db1", "approved", frozenset({("site", "paris")}))

BASE = GrantFacts(
    id=1,
    person="alice",
    group=None,
    host="id-web1",
    tag=None,
    all_hosts=False,
    logins=frozenset({"root"}),
    capabilities=frozenset({"terminal"}),
    valid_from=None,
    valid_until=None,
    networks=(),
)
TEAM = replace(BASE, id=2, person=None, group="team", logins=frozenset({"guest"}))


def ask(*grants: GrantFacts, **facts) -> Decision:
    question = {
        "person": ALICE,
        "host": WEB1,
        "login": "root",
        "capability": Capability.TERMINAL,
        "address": HERE,
        "now": NOW,
    }
    return decide(**{**question, **facts}, grants=grants)


@pytest.mark.parametrize(
    ("person", "login", "reason"),
    [
        (ALICE, "root", ""),
        (ALICE, "guest", "grant 1 does not cover login guest"),
        (BOB, "guest", ""),
        (BOB, "root", "grant 2 does not cover login root"),
        (CHARLIE, "root", "no grant gives charlie access to web1"),
        (CHARLIE, "guest", "no grant gives charlie access to web1"),
    ],
)
def test_three_people(person, login, reason):
    decision = ask(BASE, TEAM, person=person, login=login)
    assert decision.allowed is (not reason)
    assert decision.reason == (reason or f"grant {decision.grant} allows it")


REFUSALS = [
    ({}, {"person": replace(ALICE, active=False)}, "alice is disabled"),
    ({}, {"host": replace(WEB1, state="pending")}, "host web1 is pending"),
    ({}, {"host": replace(WEB1, state="revoked")}, "host web1 is revoked"),
    ({}, {"host": DB1}, "no grant gives alice access to db1"),
    ({}, {"host": replace(WEB1, id="id-new-web1")}, "no grant gives alice access to web1"),
    ({}, {"login": "Root"}, "grant 1 does not cover login Root"),
    ({}, {"capability": Capability.FORWARD}, "grant 1 does not give forward"),
    ({"host": None, "tag": ("site", "paris")}, {}, "no grant gives alice access to web1"),
    ({"host": None, "tag": ("berlin", "site")}, {}, "no grant gives alice access to web1"),
    ({"person": "Alice"}, {}, "no grant gives alice access to web1"),
    ({"person": None, "group": "alice"}, {}, "no grant gives alice access to web1"),
    ({"valid_from": NOW + HOUR}, {}, "grant 1 is not valid at this time"),
    ({"valid_until": NOW - HOUR}, {}, "grant 1 is not valid at this time"),
    ({"valid_until": NOW}, {}, "grant 1 is not valid at this time"),
    ({"networks": (ip_network("10.0.1.0/24"),)}, {}, "grant 1 does not hold from 10.0.0.5"),
    ({"networks": (ip_network("::/0"),)}, {}, "grant 1 does not hold from 10.0.0.5"),
    ({"networks": (ip_network("0.0.0.0/0"),)}, {"address": None}, "grant 1 does not hold from an unknown address"),
    ({"logins": frozenset()}, {}, "grant 1 does not cover login root"),
    ({"capabilities": frozenset()}, {}, "grant 1 does not give terminal"),
]


@pytest.mark.parametrize(("grant", "facts", "reason"), REFUSALS)
def test_refused(grant, facts, reason):
    assert ask(BASE).allowed, "the grant that is changed below does allow it"
    assert ask(replace(BASE, **grant), **facts) == Decision(False, reason)


@pytest.mark.parametrize(
    ("grant", "facts"),
    [
        ({"host": None, "tag": ("site", "berlin")}, {}),
        ({"host": None, "all_hosts": True}, {}),
        ({"person": None, "group": "team"}, {"person": BOB}),
        ({"valid_from": NOW, "valid_until": NOW + timedelta(microseconds=1)}, {}),
        ({"networks": (ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8"))}, {}),
        ({"networks": (ip_network("2001:db8::/32"),)}, {"address": ip_address("2001:db8::1")}),
        ({}, {"address": None}),
    ],
)
def test_allowed(grant, facts):
    assert ask(replace(BASE, **grant), **facts) == Decision(True, "grant 1 allows it", 1)


def test_without_grants_nobody_may():
    assert ask() == Decision(False, "no grant gives alice access to web1")


def test_grants_do_not_mix():
    """root with a terminal, guest with a forward: no forward as root."""
    forward = replace(BASE, id=2, logins=frozenset({"guest"}), capabilities=frozenset({"forward"}))
    assert ask(BASE, forward, login="guest", capability=Capability.FORWARD).allowed
    assert not ask(BASE, forward, login="root", capability=Capability.FORWARD).allowed
    assert not ask(BASE, forward, login="guest", capability=Capability.TERMINAL).allowed


def test_the_reason_is_of_the_grant_that_came_closest():
    far = replace(BASE, id=2, logins=frozenset({"guest"}))
    close = replace(BASE, id=3, valid_until=NOW)
    assert ask(far, close).reason == ask(close, far).reason == "grant 3 is not valid at this time"


def test_a_refusal_never_speaks_of_other_peoples_grants():
    assert "grant" not in ask(TEAM, person=CHARLIE).reason.removeprefix("no grant")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5", HERE),
        ("::ffff:10.0.0.5", HERE),
        ("2001:db8::1", ip_address("2001:db8::1")),
        ("", None),
        (None, None),
        ("unix:", None),
        ("10.0.0.5, 192.0.2.1", None),
    ],
)
def test_client_address(text, address):
    assert client_address(text) == address


times = st.none() | st.sampled_from([NOW - HOUR, NOW, NOW + HOUR])
grants = st.builds(
    GrantFacts,
    id=st.integers(1, 9),
    person=st.sampled_from([None, "alice", "bob", "charlie"]),
    group=st.sampled_from([None, "team", "guests"]),
    host=st.sampled_from([None, "id-web1", "id-db1"]),
    tag=st.sampled_from([None, ("site", "berlin"), ("site", "paris")]),
    all_hosts=st.booleans(),
    logins=st.frozensets(st.sampled_from(["root", "guest"])),
    capabilities=st.frozensets(st.sampled_from(list(Capability))),
    valid_from=times,
    valid_until=times,
    networks=st.sampled_from([(), (ip_network("10.0.0.0/8"),), (ip_network("192.0.2.0/24"),)]),
)
questions = st.fixed_dictionaries(
    {
        "person": st.builds(
            PersonFacts,
            st.sampled_from(["alice", "bob", "charlie"]),
            st.frozensets(st.sampled_from(["team", "guests"])),
            st.booleans(),
        ),
        "host": st.sampled_from([WEB1, DB1, replace(WEB1, state="revoked")]),
        "login": st.sampled_from(["root", "guest"]),
        "capability": st.sampled_from(list(Capability)),
        "address": st.sampled_from([None, HERE, ip_address("192.0.2.9"), ip_address("2001:db8::1")]),
        "now": st.sampled_from([NOW - HOUR, NOW, NOW + HOUR]),
    }
)


@given(st.lists(grants, max_size=5), questions)
def test_allowed_means_one_grant_alone_allows(given_grants, question):
    together = decide(**question, grants=given_grants).allowed
    assert together == any(decide(**question, grants=[grant]).allowed for grant in given_grants)


@given(grants, questions)
def test_allowed_means_every_condition_holds(grant, question):
    """The decision, told in other words than the rule's own."""
    person, host = question["person"], question["host"]
    expected = (
        person.active
        and host.state == "approved"
        and applies(grant, person=person, address=question["address"], now=question["now"])
        and covers(grant, host)
        and question["login"] in grant.logins
        and question["capability"] in grant.capabilities
    )
    assert decide(**question, grants=[grant]).allowed is expected


@given(st.lists(grants, max_size=5), questions)
def test_every_decision_gives_its_reason(given_grants, question):
    decision = decide(**question, grants=given_grants)
    assert decision.reason
    assert (decision.grant is not None) is decision.allowed


def test_the_limits_are_those_of_the_first_grant_that_allows():
    short, long = GrantLimits(idle_s=60), GrantLimits(idle_s=600, grace_s=30)
    elsewhere = replace(BASE, host="id-db1", limits=GrantLimits(longest_s=10))
    first, second = replace(BASE, id=2, limits=long), replace(BASE, id=3, limits=short)
    assert ask(elsewhere, first, second) == Decision(True, "grant 2 allows it", 2, long)
    assert ask(elsewhere, second, first).limits == short
    assert ask(BASE).limits == ask(elsewhere).limits == GrantLimits()


def test_a_way_to_the_host_needs_no_login_and_nothing_else_does_without():
    forward = replace(BASE, capabilities=frozenset({"forward"}))
    given_way = {"person": ALICE, "host": WEB1, "login": None, "address": None, "now": NOW}
    assert decide(**given_way, capability=Capability.FORWARD, grants=[forward]).allowed
    assert not decide(**given_way, capability=Capability.FORWARD, grants=[BASE]).allowed
    for capability in set(Capability) - {Capability.FORWARD}:
        with pytest.raises(ValueError, match="is given for a login"):
            decide(**given_way, capability=capability, grants=[forward, BASE])
