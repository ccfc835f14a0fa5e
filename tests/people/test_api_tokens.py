"""Personal API tokens: made, recognised, refused."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.utils import timezone

from terminals.api_tokens import MEANING, Scope, authenticate, create_api_token, revoke_api_token
from terminals.models import ApiToken, Person
from tests.people.helpers import events, last_event
from tunnels.audit import Actor
from tunnels.errors import Conflict, Invalid

NOW = timezone.now()
ACTOR = Actor(person="alice", address="192.0.2.7")


def make(person, **facts):
    return create_api_token(**{"person": person, "name": "script", "actor": ACTOR, **facts})


def test_three_people(alice, bob, charlie):
    _, hers = make(alice)
    _, his = make(bob)
    assert authenticate(hers, NOW).person == alice
    assert authenticate(his, NOW).person == bob
    assert not charlie.api_tokens.exists()
    for guess in ("", "bat_", hers[:-1], hers + "x", hers.upper(), " " + hers):
        assert authenticate(guess, NOW) is None


def test_the_secret_is_kept_nowhere(alice):
    token, secret = make(alice, scopes=["grants", "hosts"], expires_at=NOW + timedelta(days=1))
    assert secret.startswith("bat_")
    assert len(secret) >= 4 + 128 / 6
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert token.scopes == ["hosts", "grants"]
    kept = str(ApiToken.objects.values().get()) + str(last_event().detail)
    assert secret not in kept
    assert last_event().detail["owner"] == "alice"
    assert make(alice)[1] != secret


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": "x" * 65}, "needs a name"),
        ({"name": "a\x1bb"}, "needs a name"),
        ({"scopes": ["hosts", "everything"]}, "'everything' is no scope"),
        ({"expires_at": NOW - timedelta(seconds=1)}, "expired already"),
        ({"expires_at": NOW.replace(tzinfo=None)}, "needs its zone"),
    ],
)
def test_what_makes_no_sense_is_refused(alice, facts, reason):
    with pytest.raises(Invalid, match=reason):
        make(alice, **facts)
    assert not ApiToken.objects.exists()
    assert events() == ["!token.created"]


def test_no_token_for_a_disabled_person(alice):
    alice.is_active = False
    with pytest.raises(Conflict, match="disabled"):
        make(alice)


def test_a_use_is_noted_once_a_minute(alice):
    _, secret = make(alice)
    for after_s, noted_s in ((0, 0), (30, 0), (59, 0), (60, 60), (61, 60)):
        assert authenticate(secret, NOW + timedelta(seconds=after_s))
        assert ApiToken.objects.get().last_used_at == NOW + timedelta(seconds=noted_s)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda token: revoke_api_token(token=token, actor=ACTOR), "token revoked"),
        (lambda token: ApiToken.objects.update(expires_at=NOW), "token expired"),
        (lambda token: Person.objects.update(is_active=False), "alice is disabled"),
    ],
)
def test_refused_with_its_reason_on_record_once_a_minute(alice, spoil, reason):
    token, secret = make(alice)
    assert authenticate(secret, NOW)
    spoil(token)
    assert authenticate(secret, NOW, address="192.0.2.9") is None
    assert authenticate(secret, NOW) is None
    event = last_event()
    assert (event.event, event.outcome, event.address) == ("token.refused", "refused", "192.0.2.9")
    assert event.detail["reason"] == reason
    assert events().count("!token.refused") == 1


def test_revoked_once(alice):
    token, _ = make(alice)
    revoke_api_token(token=token, actor=ACTOR)
    with pytest.raises(Conflict, match="revoked already"):
        revoke_api_token(token=token, actor=ACTOR)
    assert events() == ["token.created", "token.revoked", "!token.revoked"]


def test_every_scope_says_what_it_means():
    assert set(MEANING) == set(Scope)
