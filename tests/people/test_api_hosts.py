"""REST for hosts: what each person sees, and what only an admin decides."""

from __future__ import annotations

from datetime import timedelta

import pytest

from terminals.models import Grant
from tests.people.helpers import Api, events, last_event, make_host, make_token, make_tunnel
from tunnels.models import Host, State


def names(answer) -> list[str]:
    return [host["name"] for host in answer.json()["items"]]


def test_three_people(alice, bob, charlie, alices, bobs, new1):
    assert names(Api(alice).get("/hosts")) == ["web1"]
    assert names(Api(bob).get("/hosts")) == ["db1"]
    assert names(Api(charlie).get("/hosts")) == []


def test_a_host_as_its_user_sees_it(alice, web1, alices):
    host = Api(alice).get("/hosts/web1").json()
    assert host.pop("last_seen")
    assert host == {
        "name": "web1",
        "state": "approved",
        "online": True,
        "offline_reason": None,
        "tags": {"site": "berlin"},
        "logins": ["root"],
        "capabilities": ["terminal"],
        "rights": [{"login": "root", "capabilities": ["terminal"]}],
        "info": {},
        "tunnel_port": web1.tunnel_port,
        "second_factor": False,
        "enrollment": None,
    }


def test_unknown_waiting_and_forbidden_hosts_answer_alike(alice, bob, charlie, alices, bobs, new1):
    """Same status, same words but for the name that was asked for."""
    told = set()
    for person, name in ((charlie, "web1"), (bob, "web1"), (alice, "db1"), (alice, "new1"), (alice, "nowhere")):
        answer = Api(person).get(f"/hosts/{name}")
        assert answer.status_code == 404
        told.add(answer.content.decode().replace(name, "NAME"))
    assert len(told) == 1


def test_an_admin_reaches_nothing_without_a_grant(admin, alices, new1):
    api = Api(admin)
    assert names(api.get("/hosts")) == []
    assert api.get("/hosts/web1").status_code == 404
    assert names(api.get("/hosts?state=pending")) == ["new1"]
    assert names(api.get("/hosts?state=approved")) == ["web1"]
    waiting = api.get("/hosts?state=pending").json()["items"][0]
    assert waiting["enrollment"]["fingerprint"] == new1.fingerprint
    assert waiting["enrollment"]["code"] == new1.code
    assert waiting["logins"] == []


def test_only_an_admin_lists_what_others_cannot_reach(alice, charlie, auditor, new1):
    for person in (alice, charlie, auditor):
        assert Api(person).get("/hosts?state=pending").status_code == 403
    assert Api(alice).get("/hosts?state=nonsense").status_code == 422


@pytest.mark.parametrize(
    ("tunnel", "online", "reason"),
    [
        (None, False, "never connected"),
        ({}, True, None),
        ({"closed": "agent said goodbye"}, False, "agent said goodbye"),
        ({"lease": timedelta(seconds=-1)}, False, "no sign of life"),
    ],
)
def test_presence(alice, tunnel, online, reason):
    host = make_host("pi1")
    Grant.objects.create(person=alice, host=host, logins=["pi"], capabilities=["terminal"])
    if tunnel is not None:
        make_tunnel(host, **tunnel)
    seen = Api(alice).get("/hosts/pi1").json()
    assert (seen["online"], seen["offline_reason"]) == (online, reason)
    assert (seen["last_seen"] is None) is (tunnel is None)


def test_pages(alice, charlie):
    for number in range(5):
        make_host(f"h{number}", site="berlin")
    Grant.objects.create(person=alice, tag_key="site", tag_value="berlin", logins=["root"], capabilities=["terminal"])
    api, seen, cursor = Api(alice), [], ""
    while cursor is not None:
        answer = api.get(f"/hosts?limit=2{cursor and '&cursor=' + cursor}")
        seen.append(names(answer))
        cursor = answer.json()["next"]
        Host.objects.filter(name="h0").update(state=State.REVOKED)
    assert seen == [["h0", "h1"], ["h2", "h3"], ["h4"]], "a row that goes in between hides no other"
    assert Api(charlie).get("/hosts?limit=2").json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=%00", "cursor=WyJ4Il0", "cursor=e30", "cursor=ä"]
)
def test_bad_pages(alice, query):
    assert Api(alice).get(f"/hosts?{query}").status_code == 422


def test_approving_takes_the_fingerprint_that_was_shown(admin, new1):
    api = Api(admin)
    assert api.post("/hosts/new1/approve").status_code == 422
    assert api.post("/hosts/new1/approve", {"fingerprint": ""}).status_code == 422
    assert api.post("/hosts/new1/approve", {"fingerprint": "SHA256:other"}).status_code == 409
    assert api.post("/hosts/new1/approve", {"fingerprint": new1.fingerprint, "grant": []}).status_code == 422
    assert Host.objects.get(pk=new1.pk).state == State.PENDING
    host = api.post("/hosts/new1/approve", {"fingerprint": new1.fingerprint}).json()
    assert (host["name"], host["state"], host["logins"]) == ("new1", "approved", [])
    assert api.post("/hosts/new1/approve", {"fingerprint": new1.fingerprint}).status_code == 409


def test_approving_with_a_grant_for_oneself(admin, alice, new1):
    grants = [{"person": "admin", "logins": ["root"]}, {"person": "alice", "logins": ["pi"], "capabilities": ["exec"]}]
    host = Api(admin).post("/hosts/new1/approve", {"fingerprint": new1.fingerprint, "grants": grants}).json()
    assert (host["logins"], host["capabilities"]) == (["root"], ["terminal"])
    assert names(Api(alice).get("/hosts")) == ["new1"]
    assert [event for event in events() if event.startswith(("host.a", "grant"))] == [
        "host.approved",
        "grant.created",
        "grant.created",
    ]


@pytest.mark.parametrize(
    ("grant", "status"),
    [
        ({"person": "admin", "logins": ["not a login"]}, 422),
        ({"person": "nobody", "logins": ["root"]}, 404),
        ({"person": "admin", "logins": ["root"], "all_hosts": True}, 422),
    ],
)
def test_a_refused_grant_leaves_the_machine_waiting(admin, new1, grant, status):
    good = {"person": "admin", "logins": ["root"]}
    body = {"fingerprint": new1.fingerprint, "grants": [good, grant]}
    assert Api(admin).post("/hosts/new1/approve", body).status_code == status
    assert Host.objects.get(pk=new1.pk).state == State.PENDING
    assert not Grant.objects.exists()
    assert "host.approved" not in events()


def test_reject_and_revoke(admin, web1, new1):
    api = Api(admin)
    assert api.post("/hosts/web1/reject").status_code == 409
    assert api.post("/hosts/new1/revoke").status_code == 409
    assert api.post("/hosts/new1/reject").json()["state"] == "rejected"
    assert api.post("/hosts/web1/revoke").json()["state"] == "revoked"
    assert api.post("/hosts/new1/reject").status_code == 404
    assert api.post("/hosts/web1/revoke").status_code == 404


@pytest.mark.parametrize("act", ["approve", "reject", "revoke"])
def test_others_decide_nothing_and_learn_nothing(alice, bob, charlie, auditor, web1, new1, alices, bobs, act):
    body = {"fingerprint": web1.fingerprint}
    assert Api(alice).post(f"/hosts/web1/{act}", body).status_code == 403, "she may see it"
    assert last_event().outcome == "refused"
    assert last_event().person == "alice"
    told = set()
    for person in (bob, charlie, auditor):
        for name in ("web1", "new1", "nowhere"):
            answer = Api(person).post(f"/hosts/{name}/{act}", body)
            assert answer.status_code == 404
            told.add(answer.content.decode().replace(name, "NAME"))
    assert len(told) == 1
    assert Host.objects.get(pk=web1.pk).state == State.APPROVED


def test_a_token_for_hosts_alone_grants_nothing(admin, new1):
    api = Api(token=make_token(admin, "hosts"))
    grants = [{"person": "admin", "logins": ["root"]}]
    assert api.post("/hosts/new1/approve", {"fingerprint": new1.fingerprint, "grants": grants}).status_code == 403
    assert api.post("/hosts/new1/approve", {"fingerprint": new1.fingerprint}).status_code == 200
