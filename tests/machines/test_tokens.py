"""Enrollment tokens: shown once, limited, and of two machines that race for the last use exactly one wins."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from tests.machines.helpers import ADMIN, ask, body, events, key_line
from tunnels import clock
from tunnels.enrollment import request_enrollment
from tunnels.errors import Conflict, Invalid, NotAllowed
from tunnels.models import AuditEvent, EnrollmentToken, Host, State
from tunnels.tokens import create_enrollment_token, revoke_enrollment_token


def create(**options):
    return create_enrollment_token(**{"name": "lab", "actor": ADMIN, **options})


@pytest.mark.django_db
def test_the_secret_is_kept_nowhere():
    before = clock.now()
    token, secret = create(tags={"site": "berlin"}, expires_in_s=60)
    after = clock.now()
    assert secret.startswith("bet_") and len(secret) >= 4 + 32
    token.refresh_from_db()
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert token.created_by == "admin" and token.tags == {"site": "berlin"}
    assert before <= token.expires_at - timedelta(seconds=60) <= after
    assert secret not in str(AuditEvent.objects.values_list())


@pytest.mark.django_db
@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": " x"},
        {"name": "a\x1b[2J"},
        {"name": "x" * 65},
        {"host_name": "Web 1"},
        {"uses": 0},
        {"uses": 10_001},
        {"expires_in_s": 0},
        {"expires_in_s": 400 * 86400},
        {"tags": {"Site": "x"}},
        {"tags": {f"t{n}": "x" for n in range(21)}},
    ],
)
def test_tokens_that_make_no_sense_are_refused(options):
    with pytest.raises(Invalid):
        create(**options)
    assert not EnrollmentToken.objects.exists()
    assert events() == ["!token.created"]


@pytest.mark.django_db
def test_it_enrolls_as_often_as_it_says():
    token, secret = create(uses=2)
    ask("web1", token=secret), ask("web2", token=secret)
    with pytest.raises(NotAllowed):
        ask("web3", token=secret)
    token.refresh_from_db()
    assert token.used == 2 and Host.objects.filter(token=token, state=State.PENDING).count() == 2
    assert events()[-2:] == ["!token.refused", "!enrollment.refused"]
    assert AuditEvent.objects.get(event="token.refused").detail["reason"] == "token used up"


@pytest.mark.django_db
def test_a_use_is_given_back_when_the_enrollment_is_refused(open_enrollment):
    ask("web1")
    token, secret = create()
    with pytest.raises(Conflict):
        ask("web2", tunnel_port=22100, token=secret)
    token.refresh_from_db()
    assert token.used == 0 and "token.used" not in events()


@pytest.mark.django_db
def test_auto_approval_names_the_token_and_sets_its_tags():
    _, secret = create(name="lab", host_name="web1", auto_approve=True, tags={"site": "berlin"})
    host = ask("web1", token=secret)
    assert (host.state, host.tag_map, host.decided_by) == (State.APPROVED, {"site": "berlin"}, "token lab")
    assert events()[1:] == ["token.used", "enrollment.requested", "host.approved", "host.key_pinned"]
    approved = AuditEvent.objects.get(event="host.approved")
    assert approved.detail["token"] == "lab" and approved.person == ""


@pytest.mark.django_db
def test_tags_of_a_token_wait_with_the_machine():
    _, secret = create(tags={"site": "berlin"})
    host = ask("web1", token=secret)
    assert (host.state, host.tag_map) == (State.PENDING, {"site": "berlin"})


@pytest.mark.django_db
def test_revoking():
    token, secret = create(uses=5)
    host = ask("web1", token=secret)
    assert revoke_enrollment_token(token=token, actor=ADMIN).revoked_at
    with pytest.raises(NotAllowed):
        ask("web2", token=secret)
    with pytest.raises(Conflict):
        revoke_enrollment_token(token=token, actor=ADMIN)
    host.refresh_from_db()
    assert host.state == State.PENDING
    assert events()[-1] == "!token.revoked"


def at_once(bodies: list[dict[str, Any]], refused: type[Exception]) -> list[bool]:
    """Enrolls them all in the same moment: who was taken in, and who met with `refused`."""
    start = Barrier(len(bodies))

    def enroll(request: dict[str, Any]) -> bool:
        try:
            start.wait(timeout=20)
            return request_enrollment(**request)[1]
        except refused:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(enroll, bodies))


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_one_uses_a_one_use_token():
    token, secret = create()
    bodies = [body(f"web{number}", token=secret, address="192.0.2.7") for number in range(6)]
    assert sorted(at_once(bodies, NotAllowed)) == [False] * 5 + [True]
    token.refresh_from_db()
    assert token.used == 1 and Host.objects.count() == 1
    assert events().count("token.used") == 1 and events().count("!token.refused") == 5


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_with_one_name_exactly_one_gets_it(open_enrollment):
    bodies = [body("web1", public_key=key_line(f"agent {number}"), address="192.0.2.7") for number in range(6)]
    assert sorted(at_once(bodies, Conflict)) == [False] * 5 + [True]
