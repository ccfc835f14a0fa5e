"""Public keys of people: added, removed, and never of two."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import IntegrityError, connection
from django.db.transaction import atomic
from django.utils import timezone

from terminals.keys import MAX_KEYS, KnownKey, add_key, find_key, keys_of_people, note_use, remove_key
from terminals.models import Person, PersonKey
from terminals.people import disable_person, enable_person
from tests.conftest import make_person
from tests.machines.helpers import ask, body, key_line
from tests.people.helpers import events, last_event
from tunnels.audit import OPERATOR, Actor
from tunnels.enrollment import approve_enrollment, reject_enrollment, request_enrollment
from tunnels.errors import Conflict, Invalid, NotFound
from tunnels.hosts import revoke_host
from tunnels.keys import parse_public_key
from tunnels.models import AuditEvent, Host, KeyClaim, State
from tunnels.tokens import create_enrollment_token

HERS, HIS = key_line("alice's laptop"), key_line("bob's laptop")
IN_USE = "this key is in use already"


def actor(person: Person) -> Actor:
    return Actor(person=person.username, address="192.0.2.7")


def add(person: Person, text: str) -> PersonKey:
    return add_key(person=person, text=text, actor=actor(person))


def let_in(host: Host) -> Host:
    return approve_enrollment(host=host, fingerprint=host.fingerprint, actor=OPERATOR)


@pytest.fixture
def open_enrollment(settings):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)


def test_three_people(alice, bob, charlie):
    hers = add(alice, f"{HERS} alice@laptop\n")
    his = add(bob, HIS)
    assert set(keys_of_people()) == {
        KnownKey(hers.fingerprint, alice.pk, "alice", hers.pk, "ssh-ed25519"),
        KnownKey(his.fingerprint, bob.pk, "bob", his.pk, "ssh-ed25519"),
    }
    with pytest.raises(Conflict, match=IN_USE):
        add(charlie, f"{HERS} charlie@laptop")
    assert not charlie.keys.exists()
    with pytest.raises(NotFound, match="bob has no key"):
        find_key(bob, hers.fingerprint)
    assert find_key(alice, hers.fingerprint) == hers


def test_what_is_kept_of_a_key_and_put_on_record(alice):
    key = add(alice, f"{HERS} alice@laptop")
    assert (key.algorithm, key.line, key.comment) == ("ssh-ed25519", " ".join(HERS.split()[:2]), "alice@laptop")
    assert key.fingerprint == parse_public_key(HERS).fingerprint
    assert (key.last_used_at, key.last_used_address) == (None, "")
    event = last_event()
    assert (event.event, event.person, event.address) == ("key.added", "alice", "192.0.2.7")
    assert event.detail == {
        "fingerprint": key.fingerprint,
        "algorithm": "ssh-ed25519",
        "comment": "alice@laptop",
        "owner": "alice",
    }


@pytest.mark.parametrize(
    ("algorithm", "options", "kind"),
    [
        ("ssh-ed25519", {}, "ED25519"),
        ("ecdsa-sha2-nistp384", {}, "ECDSA 384"),
        ("ssh-rsa", {"key_size": 2048}, "RSA 2048"),
    ],
)
def test_kinds_of_keys(alice, algorithm, options, kind):
    assert add(alice, key_line("kind", algorithm, **options)).kind == kind


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ALGORITHM BASE64"),
        (key_line("weak", "ssh-rsa", key_size=1024), "too weak"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "unsupported key type ssh-dss"),
        ("sk-ssh-ed25519@openssh.com AAAA", "damaged"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
        (f"{HERS}\n{HIS}", "one line"),
        (f'command="rm -rf /" {HERS}', "options are not taken"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n", "private key"),
    ],
)
def test_what_is_no_good_key_is_refused_on_record(alice, text, why):
    with pytest.raises(Invalid, match=why):
        add(alice, text)
    assert not PersonKey.objects.exists()
    assert not KeyClaim.objects.exists()
    assert events() == ["!key.added"]
    assert "c2VjcmV0" not in str(last_event().detail)


def test_ones_own_key_again(alice):
    add(alice, HERS)
    with pytest.raises(Conflict, match="you have this key already"):
        add(alice, f"{HERS} another comment")
    with pytest.raises(Conflict, match="alice has this key already"):
        add_key(person=alice, text=HERS, actor=OPERATOR)
    assert alice.keys.count() == 1


def test_a_key_of_another_person_and_one_of_a_host_are_told_alike(alice, bob, open_enrollment):
    add(alice, HERS)
    let_in(ask("web1"))
    told = set()
    for text in (HERS, key_line("agent of web1")):
        with pytest.raises(Conflict, match=IN_USE) as refusal:
            add(bob, text)
        told.add(str(refusal.value))
    assert len(told) == 1
    assert not told & {"alice", "web1"}
    reasons = [entry.detail["reason"] for entry in AuditEvent.objects.filter(event="key.added", outcome="refused")]
    assert set(reasons) == {"this key belongs to alice", "this key belongs to a host"}


def test_a_host_keeps_its_key_whatever_becomes_of_it(alice, open_enrollment):
    host = let_in(ask("web1"))
    for _ in range(2):
        with pytest.raises(Conflict, match=IN_USE):
            add(alice, host.public_key)
        if host.state == State.APPROVED:
            host = revoke_host(host=host, actor=OPERATOR)


@pytest.mark.parametrize("is_rejected", [False, True], ids=["pending", "rejected"])
def test_a_stranger_who_enrolls_with_a_persons_key_does_not_keep_it_from_them(alice, open_enrollment, is_rejected):
    """Her public key is public. So it is where she dialled as a machine by mistake."""
    host = ask("web1", public_key=HERS)
    if is_rejected:
        reject_enrollment(host=host, actor=OPERATOR)
    key = add(alice, HERS)
    assert not Host.objects.exists() and alice.keys.get() == key
    assert events()[-2:] == ["!enrollment.refused", "key.added"]
    refused = AuditEvent.objects.get(event="enrollment.refused")
    assert (refused.host, refused.person, refused.detail["reason"]) == ("web1", "alice", "this key belongs to alice")
    with pytest.raises(Conflict, match=IN_USE):
        ask("web1", public_key=HERS)


def test_a_machine_that_came_with_a_token_keeps_its_key(alice):
    token, secret = create_enrollment_token(name="lab", actor=OPERATOR)
    host = ask("web1", token=secret)
    assert host.token == token and host.state == State.PENDING
    with pytest.raises(Conflict, match=IN_USE):
        add(alice, host.public_key)
    assert Host.objects.exists()


def test_a_refused_key_takes_no_enrollment_away(alice, open_enrollment):
    host = ask("web1")
    disable_person(person=alice, actor=OPERATOR)
    with pytest.raises(Conflict, match="is disabled"):
        add(alice, host.public_key)
    assert Host.objects.get() == host


def test_a_persons_key_enrolls_no_machine(alice, open_enrollment):
    add(alice, HERS)
    with pytest.raises(Conflict, match=IN_USE):
        ask("web1", public_key=HERS)
    assert not Host.objects.exists()
    assert events() == ["key.added", "!enrollment.refused"]
    assert "alice" not in str(last_event().detail)


def test_hosts_from_before_have_claims_too(alice, open_enrollment):
    """What the migration does for hosts that enrolled before it."""
    from importlib import import_module

    from django.apps import apps

    host = let_in(ask("web1"))
    KeyClaim.objects.all().delete()
    import_module("tunnels.migrations.0002_key_claims").claim_for_hosts(apps, None)
    with pytest.raises(Conflict, match=IN_USE):
        add(alice, host.public_key)


def test_removed(alice, bob, charlie):
    key = add(alice, f"{HERS} alice@laptop")
    his = add(bob, HIS)
    remove_key(key=key, actor=actor(alice))
    assert [known.key_id for known in keys_of_people()] == [his.pk]
    assert last_event().detail["fingerprint"] == parse_public_key(HERS).fingerprint
    with pytest.raises(Conflict, match="removed already"):
        remove_key(key=key, actor=actor(alice))
    assert events() == ["key.added", "key.added", "key.removed", "!key.removed"]
    assert add(charlie, HERS).person == charlie, "nobody has it any more"


def test_so_many_and_no_more(alice, bob):
    for number in range(MAX_KEYS):
        add(alice, key_line(f"device {number}"))
    with pytest.raises(Conflict, match="you have 20 keys"):
        add(alice, HERS)
    add(bob, HERS)
    remove_key(key=alice.keys.first(), actor=OPERATOR)
    add(alice, key_line("the newest device"))


def test_who_is_disabled(alice):
    key = add(alice, HERS)
    disable_person(person=alice, actor=OPERATOR)
    assert keys_of_people() == []
    with pytest.raises(Conflict, match="disabled"):
        add_key(person=alice, text=HIS, actor=OPERATOR)
    with pytest.raises(Conflict, match=IN_USE):
        add(make_person("dora"), HERS)
    enable_person(person=alice, actor=OPERATOR)
    assert [known.key_id for known in keys_of_people()] == [key.pk]


def test_a_use_is_noted_once_a_minute(alice):
    key, other, now = add(alice, HERS), add(alice, HIS), timezone.now()
    for after_s, noted_s in ((0, 0), (30, 0), (59, 0), (60, 60), (61, 60)):
        note_use(key.pk, f"192.0.2.{after_s}", now + timedelta(seconds=after_s))
        key.refresh_from_db()
        assert key.last_used_at == now + timedelta(seconds=noted_s)
        assert key.last_used_address == f"192.0.2.{noted_s}"
    other.refresh_from_db()
    assert other.last_used_at is None
    remove_key(key=key, actor=OPERATOR)
    note_use(key.pk, "192.0.2.1", now + timedelta(hours=1))


@pytest.mark.django_db(transaction=True)
def test_of_a_host_and_people_at_once_exactly_one_gets_the_key(open_enrollment):
    people = [make_person(name) for name in ("alice", "bob", "charlie")]
    requests = [body(f"web{number}", public_key=HERS, address="192.0.2.7") for number in range(3)]
    tries: list[Callable[[], object]] = [lambda person=person: add(person, HERS) for person in people]
    tries += [lambda request=request: request_enrollment(**request) for request in requests]
    start = Barrier(len(tries))

    def attempt(trying: Callable[[], object]) -> bool:
        try:
            start.wait(timeout=20)
            trying()
        except Conflict:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(len(tries)) as pool:
        won = list(pool.map(attempt, tries))
    # A machine that asked first, and that nobody has let in, gave way.
    assert won[: len(people)].count(True) == PersonKey.objects.count() == 1
    assert Host.objects.count() == 0
    assert KeyClaim.objects.count() == 1


def test_the_database_itself_lets_no_key_be_claimed_twice(db):
    """What holds where transactions are not serialised: no check of ours, but the table."""
    KeyClaim.objects.create(fingerprint="SHA256:x")
    with pytest.raises(IntegrityError), atomic():
        KeyClaim.objects.create(fingerprint="SHA256:x")
    assert not KeyClaim.objects.take("SHA256:x")
