"""REST for grants: admins make and revoke them; everybody may ask why about themself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from terminals.models import Grant
from tests.people.helpers import ADDRESS, Api, events, last_event
from tunnels.models import Host, State


def test_three_people(alice, bob, charlie, admin, alices, bobs):
    """alice has a grant, bob another, charlie none: none of them manages grants."""
    for person in (alice, bob, charlie):
        api = Api(person)
        assert api.get("/grants").status_code == 403
        assert api.post("/grants", {"person": "alice", "host": "web1", "logins": ["root"]}).status_code == 403
        assert last_event().person == person.username
        assert events()[-1] == "!grant.created"
        assert api.delete(f"/grants/{alices.pk}").status_code == 403
        assert events()[-1] == "!grant.revoked"
    assert Grant.objects.standing().count() == 2
    assert len(Api(admin).get("/grants").json()["items"]) == 2


def test_made_listed_revoked(admin, alice, web1):
    api = Api(admin)
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    body = {"person": "alice", "host": "web1", "logins": ["root"], "valid_until": until, "networks": ["10.0.0.0/8"]}
    made = api.post("/grants", body)
    assert made.status_code == 201
    grant = made.json()
    assert (grant["person"], grant["host"], grant["logins"]) == ("alice", "web1", ["root"])
    assert (grant["group"], grant["tag"], grant["all_hosts"]) == (None, None, False)
    assert (grant["capabilities"], grant["networks"]) == (["terminal"], ["10.0.0.0/8"])
    assert api.get("/grants").json() == {"items": [grant], "next": None}
    assert api.delete(f"/grants/{grant['id']}").status_code == 204
    assert api.get("/grants").json()["items"] == []
    assert api.delete(f"/grants/{grant['id']}").status_code == 404
    assert events() == ["grant.created", "grant.revoked"]


def test_to_a_group_on_a_tag_and_on_all(admin, alice, bob, web1):
    Group.objects.create(name="team").user_set.add(bob)
    api = Api(admin)
    tag = api.post("/grants", {"group": "team", "tag": "site=berlin", "logins": ["root"]}).json()
    everywhere = api.post("/grants", {"person": "alice", "all_hosts": True, "logins": ["pi"]}).json()
    assert (tag["group"], tag["tag"]) == ("team", "site=berlin")
    assert everywhere["all_hosts"] is True
    assert Api(bob).get("/hosts/web1").json()["logins"] == ["root"]
    assert Api(alice).get("/hosts/web1").json()["logins"] == ["pi"]
    assert [grant["id"] for grant in api.get("/grants?person=alice").json()["items"]] == [everywhere["id"]]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"person": None}, 422),
        ({"group": "team"}, 404),
        ({"person": "nobody"}, 404),
        ({"host": "nowhere"}, 404),
        ({"host": "new1"}, 409),
        ({"host": None}, 422),
        ({"all_hosts": True}, 422),
        ({"tag": "nonsense"}, 422),
        ({"logins": []}, 422),
        ({"logins": "root"}, 422),
        ({"logins": ["a b"]}, 422),
        ({"capabilities": ["root"]}, 422),
        ({"valid_until": "2020-01-01T00:00:00Z"}, 422),
        ({"valid_until": "2999-01-01T00:00:00"}, 422),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, 422),
        ({"valid_until": "tomorrow"}, 422),
        ({"networks": ["10.0.0.1/8"]}, 422),
        ({"idle": 9}, 422),
        ({"idle": 0}, 422),
        ({"grace": -60}, 422),
        ({"longest": "31d"}, 422),
        ({"longest": 10**30}, 422),
        ({"longest": "soon"}, 422),
        ({"longest": ""}, 422),
        ({"idle": 60.5}, 422),
        ({"idle": True}, 422),
        ({"idle": ["10m"]}, 422),
        ({"idle_s": 600}, 422),
        ({"limits": {"idle": 600}}, 422),
        ({"unknown": 1}, 422),
    ],
)
def test_bodies_that_do_not_fit(admin, alice, web1, new1, change, status):
    good = {"person": "alice", "host": "web1", "logins": ["root"]}
    assert Api(admin).post("/grants", {**good, **change}).status_code == status
    assert not Grant.objects.exists()


def ask(api, **body):
    return api.post("/grants/explain", {"host": "web1", "login": "root", **body})


def test_explain_oneself(alice, bob, charlie, alices, bobs):
    assert ask(Api(alice)).json() == {
        "allowed": True,
        "reason": f"grant {alices.pk} allows it",
        "grant": alices.pk,
        "limits": {"grace": None, "idle": None, "longest": None},
    }
    assert ask(Api(alice), capability="sftp").json()["reason"] == f"grant {alices.pk} does not give sftp"
    assert ask(Api(bob), host="db1", login="guest", person="bob").json()["allowed"]
    assert ask(Api(charlie)).json() == {
        "allowed": False,
        "reason": "no grant gives charlie access to web1",
        "grant": None,
        "limits": None,
    }


def test_explaining_oneself_does_not_tell_which_hosts_exist(charlie, web1, new1):
    told = set()
    for name in ("web1", "new1", "nowhere"):
        answer = ask(Api(charlie), host=name)
        assert answer.json()["allowed"] is False
        told.add(answer.content.decode().replace(name, "NAME"))
    assert len(told) == 1


def test_explaining_others_is_for_admins(alice, bob, charlie, admin, alices):
    for person in (bob, charlie):
        assert ask(Api(person), person="alice").status_code == 403
    assert ask(Api(admin), person="alice").json()["allowed"]
    assert not ask(Api(admin), person="charlie").json()["allowed"]
    assert ask(Api(admin), person="nobody").status_code == 404
    assert ask(Api(admin), person="alice", host="nowhere").status_code == 404
    assert ask(Api(admin), person="alice", capability="fly").status_code == 422


def test_explain_goes_by_where_one_sits(alice, admin, alices):
    Grant.objects.filter(pk=alices.pk).update(networks=[f"{ADDRESS}/32"])
    assert ask(Api(alice)).json()["allowed"]
    asked = {"person": "alice"}
    assert ask(Api(admin), **asked).json()["reason"] == f"grant {alices.pk} does not hold from an unknown address"
    assert ask(Api(admin), **asked, address=ADDRESS).json()["allowed"]
    assert not ask(Api(admin), **asked, address="203.0.113.1").json()["allowed"]


def test_explain_says_why_a_host_opens_for_nobody(admin, alices, web1):
    Host.objects.filter(pk=web1.pk).update(state=State.PENDING)
    assert ask(Api(admin), person="alice").json()["reason"] == "host web1 is pending"


def test_limits_as_seconds_or_durations(admin, alice, bob, web1, db1):
    api, body = Api(admin), {"host": "web1", "logins": ["root"]}
    made = api.post("/grants", {**body, "person": "alice", "grace": 60, "idle": "10m", "longest": "2h"})
    assert made.status_code == 201
    limits = {"grace": 60, "idle": 600, "longest": 7200}
    assert {name: made.json()[name] for name in limits} == limits
    assert {name: api.get("/grants").json()["items"][0][name] for name in limits} == limits
    assert last_event().detail["grant"]["idle"] == 600
    assert ask(Api(alice)).json()["limits"] == limits
    plain = api.post("/grants", {**body, "person": "bob", "idle": None}).json()
    assert [plain[name] for name in limits] == [None, None, None]
    assert ask(api, person="bob").json()["limits"] == dict.fromkeys(limits)


def test_limits_inside_an_approval(admin, alice, new1):
    grant = {"person": "alice", "logins": ["pi"], "idle": "5m"}
    body = {"fingerprint": new1.fingerprint, "grants": [grant]}
    refused = Api(admin).post("/hosts/new1/approve", {**body, "grants": [{**grant, "idle": 5}]})
    assert refused.status_code == 422
    assert "idle: a limit of a grant is between 10 s and 30 d" in refused.json()["detail"]
    assert Host.objects.get(pk=new1.pk).state == State.PENDING
    assert Api(admin).post("/hosts/new1/approve", body).status_code == 200
    assert Grant.objects.get().idle_s == 300
