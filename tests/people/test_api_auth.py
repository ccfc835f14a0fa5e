"""Who calls the REST API: portal logins with CSRF, tokens with scopes, nobody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from terminals.api_tokens import Scope
from terminals.models import ApiToken, Person
from tests.people.helpers import Api, events, make_token

ROUTES = {Scope.HOSTS: "/hosts", Scope.GRANTS: "/grants", Scope.AUDIT: "/audit"}
"""`/sessions` has the same front door; its own tests are elsewhere."""


def test_three_people(alice, bob, charlie, alices, bobs):
    for person, seen in ((alice, ["web1"]), (bob, ["db1"]), (charlie, [])):
        for api in (Api(person), Api(token=make_token(person))):
            answer = api.get("/hosts")
            assert [host["name"] for host in answer.json()["items"]] == seen


@pytest.mark.parametrize("path", ROUTES.values())
@pytest.mark.parametrize(
    "header", [None, "Bearer ", "Bearer bat_nonsense", "Basic YTpi", "bat_nonsense", "Bearer \x00", "Bearer ümläut"]
)
def test_anonymous(db, path, header):
    answer = Api().get(path, **({"Authorization": header} if header else {}))
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


def test_a_bad_token_is_not_made_good_by_a_login(alice):
    api = Api(alice)
    assert api.get("/hosts").status_code == 200
    assert api.get("/hosts", Authorization="Bearer bat_wrong").status_code == 401


def test_a_login_needs_the_csrf_token_for_what_changes_something(admin, alices):
    path = f"/grants/{alices.pk}"
    without = Api(admin, csrf=False)
    assert without.get("/grants").status_code == 200
    refused = without.delete(path)
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert "CSRF" in refused.json()["detail"]
    assert Api(admin).delete(path).status_code == 204


def test_a_token_needs_no_csrf_token(admin, alices):
    api = Api(token=make_token(admin), csrf=False)
    assert api.delete(f"/grants/{alices.pk}").status_code == 204


def test_a_foreign_origin_is_refused(admin, alices):
    answer = Api(admin)("DELETE", f"/grants/{alices.pk}", Origin="https://evil.example")
    assert answer.status_code == 403


@pytest.mark.parametrize("scope", ROUTES)
def test_a_scope_opens_its_routes_and_no_others(admin, auditor, scope):
    person = auditor if scope is Scope.AUDIT else admin
    api = Api(token=make_token(person, scope))
    for other, path in ROUTES.items():
        answer = api.get(path)
        assert answer.status_code == (200 if other is scope else 403), path
    assert "not made for" in api.get(ROUTES[Scope.HOSTS if scope is not Scope.HOSTS else Scope.GRANTS]).json()["detail"]


def test_a_scope_adds_nothing_to_what_its_owner_may(alice, charlie, alices):
    for person in (alice, charlie):
        assert Api(token=make_token(person, Scope.GRANTS)).get("/grants").status_code == 403
        assert Api(token=make_token(person, Scope.AUDIT)).get("/audit").status_code == 403


def test_disabled(alice, bob, alices):
    login, token = Api(alice), Api(token=make_token(alice))
    assert (login.get("/hosts").status_code, token.get("/hosts").status_code) == (200, 200)
    Person.objects.filter(pk=alice.pk).update(is_active=False)
    assert (login.get("/hosts").status_code, token.get("/hosts").status_code) == (401, 401)
    assert Api(bob).get("/hosts").status_code == 200


@pytest.mark.parametrize(
    "facts", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}]
)
def test_expired_and_revoked_tokens(alice, facts):
    api = Api(token=make_token(alice))
    assert api.get("/hosts").status_code == 200
    ApiToken.objects.update(**facts)
    assert api.get("/hosts").status_code == 401
    assert events()[-1] == "!token.refused"
