"""REST of sharing: alice owns the terminal, bob is invited, charlie must be refused, a guest may at most watch."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from terminals.api import guessing
from terminals.grants import revoke_grant
from terminals.lobby import MAX_WAITING
from terminals.models import SecondFactorRule, Share
from terminals.people import disable_person
from terminals.protocol import Role
from terminals.sessions import end_session
from tests.core.rows import give, session_row
from tests.core.waiting import Clock
from tests.people.helpers import Api, events, last_event, make_token
from tests.sharing.links import admission, ask, decide, hear, share
from tunnels.audit import OPERATOR

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(alice, terminal):
    return Api(alice)


@pytest.fixture
def guest():
    return Api()


# Making and revoking


def test_a_link(owner, terminal, row):
    made = share(owner, row.pk, role="driver", expires="30m")
    assert (made["role"], made["person"], made["guests"]) == ("driver", None, False)
    assert made["url"].startswith("http://") and len(made["secret"]) >= 43
    stored = Share.objects.get()
    assert made["secret"] not in str(vars(stored)) and stored.session_id == row.pk
    assert timedelta(minutes=29) < stored.expires_at - timezone.now() <= timedelta(minutes=30)
    listed = owner.get(f"/sessions/{row.pk}/shares").json()["items"]
    assert [item["id"] for item in listed] == [made["id"]] and "url" not in listed[0]
    event = last_event()
    assert (event.event, event.person, event.host, event.session) == ("share.created", "alice", "web1", str(row.pk))
    assert made["secret"] not in str(event.detail)
    assert owner.delete(f"/sessions/{row.pk}/shares/{made['id']}").status_code == 204
    assert owner.delete(f"/sessions/{row.pk}/shares/{made['id']}").status_code == 409
    assert [name for name in events() if "share" in name] == ["share.created", "share.revoked", "!share.revoked"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"role": "owner"}, 422),
        ({"expires": "59s"}, 422),
        ({"expires": "8d"}, 422),
        ({"expires": "999999999d"}, 422),
        ({"expires": "soon"}, 422),
        ({"expires": "2026-01-31T12:00:00"}, 422),
        ({"person": "nobody"}, 404),
        ({"person": "alice"}, 422),
        ({"person": "bob", "guests": True}, 422),
        ({"nonsense": 1}, 422),
        ({"expires": "7d"}, 201),
        ({"expires": "1m", "role": "watcher"}, 201),
    ],
)
def test_what_can_be_shared(owner, row, bob, body, status):
    assert owner.post(f"/sessions/{row.pk}/shares", body).status_code == status


def test_only_its_owner_shares_it_and_only_with_the_capability(owner, row, bob, charlie, admin, auditor, grant, web1):
    give(bob, web1, capabilities=["terminal", "share", "observe"])
    for person, status in ((bob, 403), (charlie, 404), (admin, 403), (auditor, 403)):
        assert Api(person).post(f"/sessions/{row.pk}/shares", {}).status_code == status
        assert Api(person).get(f"/sessions/{row.pk}/shares").status_code == status
    revoke_grant(grant=grant, actor=OPERATOR)
    give(row.person, web1, capabilities=["terminal"])
    answer = owner.post(f"/sessions/{row.pk}/shares", {})
    assert answer.status_code == 403 and "does not give share" in answer.json()["detail"]
    assert events()[-1] == "!share.created"
    for name in ("bob", "nobody"):
        told = owner.post(f"/sessions/{row.pk}/shares", {"person": name})
        assert (told.status_code, told.json()["detail"]) == (403, answer.json()["detail"]), "nor who has an account"


def test_not_once_it_has_ended(owner, row):
    end_session(session_id=row.pk, reason="over")
    assert owner.post(f"/sessions/{row.pk}/shares", {}).status_code == 409


# Coming by a link


def test_who_has_the_link_asks_and_the_owner_lets_them_in(owner, row, bob, house, alices):
    link = share(owner, row.pk, role="driver")
    visitor = Api(bob)
    asked = ask(visitor, link["secret"])
    assert (asked["state"], asked["admission"], asked["as"], asked["role"]) == ("asking", None, "bob", "driver")
    assert (asked["session"], asked["owner"], asked["host"]) == (str(row.pk), "alice", "web1")
    waiting = owner.get(f"/sessions/{row.pk}/viewers").json()["asking"]
    assert [(item["id"], item["name"], item["role"]) for item in waiting] == [(asked["ask"], "bob", "driver")]
    assert alices.wire.of("viewers")[-1]["asking"][0]["name"] == "bob"
    assert visitor.get(f"/sessions/{row.pk}/viewers").status_code == 404, "not before they are let in"
    decide(owner, row.pk, asked)
    heard = hear(visitor, asked)
    assert heard["state"] == "admitted" and hear(visitor, asked)["admission"] == heard["admission"]
    bobs = house.enter(visitor, row.pk, "driver", admission=heard["admission"])
    assert bobs.role is Role.WATCHER and bobs.seat.may_drive, "the keyboard has to be handed over"
    items = owner.get(f"/sessions/{row.pk}/viewers").json()["items"]
    assert [(item["name"], item["via"], item["role"]) for item in items] == [
        ("alice", "owner", "driver"),
        ("bob", "share", "watcher"),
    ]
    house.settle()
    assert events()[-1] == "session.joined"
    entry = last_event()
    assert (entry.person, entry.session, entry.detail["role"], entry.detail["via"]) == (
        "bob",
        str(row.pk),
        "watcher",
        "share",
    )


def test_refused(owner, row, charlie):
    link = share(owner, row.pk)
    visitor = Api(charlie)
    asked = ask(visitor, link["secret"])
    decide(owner, row.pk, asked, admit=False)
    assert hear(visitor, asked)["state"] == "refused" and hear(visitor, asked)["admission"] is None
    decide(owner, row.pk, asked, status=404)
    assert events()[-1] == "!session.refused" and last_event().person == "charlie"


def test_an_invited_person_needs_no_answer_and_nobody_else_can_use_the_link(owner, row, bob, charlie, guest, house):
    link = share(owner, row.pk, person="bob")
    asked = ask(Api(bob), link["secret"])
    assert asked["state"] == "admitted" and asked["admission"]
    ask(Api(charlie), link["secret"], status=404)
    ask(guest, link["secret"], status=401, name="bob")
    assert Api(charlie).post(f"/sessions/{row.pk}/tickets", {"role": "watcher"}).status_code == 404
    body = {"role": "watcher", "admission": asked["admission"]}
    assert Api(charlie).post(f"/sessions/{row.pk}/tickets", body).status_code == 404, "an admission is one person's"
    assert guest.post(f"/sessions/{row.pk}/tickets", body).status_code == 404
    assert house.enter(Api(bob), row.pk).seat.name == "bob", "without the link as well: it is on the first page"


def test_a_guest_only_where_the_owner_said_so_and_only_to_watch(owner, row, guest, house):
    closed, link = share(owner, row.pk, role="driver"), share(owner, row.pk, role="driver", guests=True)
    assert ask(guest, closed["secret"], status=401, name="eve")["detail"] == "log in to join this terminal"
    for name in ("", " ", "eve\x1b[2J", "a" * 33, "alice (owner)", "<b>eve</b>", "\u202eeve"):
        ask(guest, link["secret"], status=422, name=name)
    asked = ask(guest, link["secret"], name="eve")
    assert (asked["as"], asked["role"]) == ("eve (guest)", "watcher")
    decide(owner, row.pk, asked)
    secret = hear(guest, asked)["admission"]
    refused = guest.post(f"/sessions/{row.pk}/tickets", {"role": "driver", "admission": secret})
    assert refused.status_code == 403
    eves = house.enter(guest, row.pk, admission=secret)
    assert (eves.role, eves.seat.may_drive, eves.seat.is_guest) == (Role.WATCHER, False, True)
    taken = owner.post(f"/sessions/{row.pk}/viewers/{eves.id}/drive")
    assert taken.status_code == 409 and "may only watch" in taken.json()["detail"]
    assert eves.role is Role.WATCHER


def test_no_guest_where_a_second_factor_is_required(owner, row, guest, web1):
    link = share(owner, row.pk, guests=True)
    SecondFactorRule.objects.create(host=web1)
    ask(guest, link["secret"], status=401, name="eve")


def test_another_guest_of_the_same_name_is_another_guest(owner, row, guest):
    link = share(owner, row.pk, guests=True)
    first = admission(owner, guest, row.pk, link["secret"], name="eve")
    again = ask(guest, link["secret"], name="eve")
    assert again["state"] == "asking" and first


def test_a_link_to_watch_never_lets_anybody_drive(owner, row, bob, house, alices):
    link = share(owner, row.pk, role="watcher")
    secret = admission(owner, Api(bob), row.pk, link["secret"])
    answer = Api(bob).post(f"/sessions/{row.pk}/tickets", {"role": "driver", "admission": secret})
    assert answer.status_code == 403
    bobs = house.enter(Api(bob), row.pk, admission=secret)
    assert owner.post(f"/sessions/{row.pk}/viewers/{bobs.id}/drive").status_code == 409
    assert bobs.role is Role.WATCHER and alices.role is Role.DRIVER


def test_an_admission_is_for_one_session(owner, row, bob, house, alice, web1):
    other = session_row(alice, web1)
    house.open(other)
    link = share(owner, row.pk)
    secret = admission(owner, Api(bob), row.pk, link["secret"])
    answer = Api(bob).post(f"/sessions/{other.pk}/tickets", {"role": "watcher", "admission": secret})
    assert answer.status_code == 404
    asked = ask(Api(bob), share(owner, other.pk)["secret"])
    decide(owner, row.pk, asked, status=404)
    assert owner.delete(f"/sessions/{row.pk}/shares/{share(owner, other.pk)['id']}").status_code == 404


@pytest.mark.parametrize("how", ["unknown", "revoked", "expired", "ended", "no share any more", "disabled"])
def test_links_that_open_nothing_answer_alike(owner, row, bob, guest, grant, alice, how):
    made = share(owner, row.pk, guests=True)
    secret = made["secret"]
    match how:
        case "unknown":
            secret = "x" * 43
        case "revoked":
            owner.delete(f"/sessions/{row.pk}/shares/{made['id']}")
        case "expired":
            Share.objects.update(expires_at=timezone.now())
        case "ended":
            end_session(session_id=row.pk, reason="over")
        case "no share any more":
            revoke_grant(grant=grant, actor=OPERATOR)
        case "disabled":
            disable_person(person=alice, actor=OPERATOR)
    for visitor in (Api(bob), guest):
        answer = ask(visitor, secret, status=404, name="eve")
        assert answer["detail"] == "this link is not valid (any more); ask for a new one"


def test_guessing_links_and_keys_is_slowed_down(owner, row, guest, monkeypatch):
    monkeypatch.setattr(guessing, "time", SimpleNamespace(monotonic=Clock()))
    statuses = {guest.post("/shares/ask", {"secret": f"guess {number}"}).status_code for number in range(40)}
    assert statuses == {404, 429}
    statuses = {guest.post("/shares/asks/x", {"key": f"guess {number}"}).status_code for number in range(80)}
    assert statuses == {404, 429}
    body = {"role": "watcher", "admission": "guess"}
    answer = guest.post(f"/sessions/{row.pk}/tickets", body)
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) >= 1


def test_only_so_many_ask_at_once(owner, row, guest):
    link = share(owner, row.pk, guests=True)
    for number in range(MAX_WAITING):
        guessing.asked.clear()
        ask(guest, link["secret"], name=f"guest {number}")
    ask(guest, link["secret"], status=429, name="one more")
    assert len(owner.get(f"/sessions/{row.pk}/viewers").json()["asking"]) == MAX_WAITING


def test_a_cookie_without_its_csrf_token_asks_for_nothing(owner, row, bob):
    link = share(owner, row.pk, guests=True)
    for path in ("/shares/ask", "/shares/asks/x", f"/sessions/{row.pk}/tickets", f"/sessions/{row.pk}/say"):
        answer = Api(bob, csrf=False).post(path, {"secret": link["secret"], "name": "bob"})
        assert answer.status_code == 403 and "CSRF" in answer.json()["detail"]


# Being there


def test_hand_over_take_back_and_remove(owner, row, bob, house, alices):
    link = share(owner, row.pk, role="driver")
    secret = admission(owner, Api(bob), row.pk, link["secret"])
    bobs = house.enter(Api(bob), row.pk, admission=secret)
    others = (Api(bob), Api())
    for way in (f"viewers/{bobs.id}/drive", "drive", f"asks/{bobs.id}"):
        statuses = [api.post(f"/sessions/{row.pk}/{way}", {"admit": True}).status_code for api in others]
        assert statuses == [404, 401], way
    assert owner.post(f"/sessions/{row.pk}/viewers/{bobs.id}/drive").status_code == 204
    assert (alices.role, bobs.role) == (Role.WATCHER, Role.DRIVER)
    assert owner.post(f"/sessions/{row.pk}/drive").status_code == 204
    assert (alices.role, bobs.role) == (Role.DRIVER, Role.WATCHER)
    assert owner.post(f"/sessions/{row.pk}/viewers/nobody/drive").status_code == 404
    spare = Api(bob).post(f"/sessions/{row.pk}/tickets", {"role": "watcher", "admission": secret}).json()["ticket"]
    assert owner.delete(f"/sessions/{row.pk}/viewers/{bobs.id}").status_code == 204
    assert bobs.wire.closed == (4403, "alice asked you to leave")
    assert house.terminals.tickets.redeem(spare, session=row.pk) is None, "a ticket that was got before"
    answer = Api(bob).post(f"/sessions/{row.pk}/tickets", {"role": "watcher", "admission": secret})
    assert answer.status_code == 404
    assert ask(Api(bob), link["secret"])["state"] == "asking", "the link stands, and the owner is asked again"
    house.settle()
    assert [name for name in events() if name.startswith("session.")] == [
        "session.joined",
        *["session.role_changed"] * 4,
        "session.left",
    ]


def test_to_remove_an_invited_person_revokes_the_invitation(owner, row, bob, house):
    share(owner, row.pk, person="bob")
    bobs = house.enter(Api(bob), row.pk)
    assert owner.delete(f"/sessions/{row.pk}/viewers/{bobs.id}").status_code == 204
    assert bobs.wire.closed is not None and Share.objects.get().revoked_at is not None
    assert Api(bob).post(f"/sessions/{row.pk}/tickets", {"role": "watcher"}).status_code == 404


def test_to_revoke_a_share_removes_who_came_by_it_and_nobody_else(owner, row, bob, charlie, guest, house, alices):
    first, second = share(owner, row.pk, guests=True), share(owner, row.pk)
    eves = house.enter(guest, row.pk, admission=admission(owner, guest, row.pk, first["secret"], name="eve"))
    bobs = house.enter(Api(bob), row.pk, admission=admission(owner, Api(bob), row.pk, second["secret"]))
    waiting = ask(Api(charlie), first["secret"])
    assert owner.delete(f"/sessions/{row.pk}/shares/{first['id']}").status_code == 204
    assert eves.wire.closed == (4403, "alice revoked the share") and bobs.wire.closed is None
    assert hear(Api(charlie), waiting)["state"] == "ended" and alices.wire.closed is None
    assert owner.get(f"/sessions/{row.pk}/viewers").json()["asking"] == []


def test_say(owner, row, bob, charlie, guest, house, alices):
    link = share(owner, row.pk, guests=True)
    secret = admission(owner, guest, row.pk, link["secret"], name="eve")
    share(owner, row.pk, person="bob")
    path = f"/sessions/{row.pk}/say"
    assert owner.post(path, {"text": "hello"}).status_code == 204
    assert Api(bob).post(path, {"text": "hi"}).status_code == 204
    assert guest.post(path, {"text": "oh", "admission": secret}).status_code == 204
    assert [message["text"] for message in alices.wire.of("notice")] == ["alice: hello", "bob: hi", "eve (guest): oh"]
    assert Api(charlie).post(path, {"text": "x"}).status_code == 404
    assert guest.post(path, {"text": "x"}).status_code == 401
    for text in ("", "x" * 201, "a\nb", "\x1b[2J"):
        assert owner.post(path, {"text": text}).status_code == 422


def test_say_is_for_those_who_may_attach(owner, row, bob, charlie, guest, web1, house, alices):
    give(bob, web1, capabilities=["observe"])
    link = share(owner, row.pk)
    secret = admission(owner, Api(charlie), row.pk, link["secret"])
    body = {"text": "from somebody else", "admission": secret}
    path = f"/sessions/{row.pk}/say"
    for thief in (guest, Api(bob)):
        assert thief.post(path, body).status_code == 404, "an admission is one person's"
    SecondFactorRule.objects.create(host=web1)
    for api, line in ((Api(bob), {"text": "no factor"}), (Api(charlie), body)):
        answer = api.post(path, line)
        assert answer.json()["type"] == "/problems/second-factor-required"
    assert alices.wire.of("notice") == []


@pytest.mark.parametrize("name", ["\u3164", "\u115f\u1160", "alice\uffa0", "\u2800", "a\u202eb", "a\u0301\u0301"])
def test_a_guest_has_a_name_that_can_be_seen(owner, row, guest, name):
    link = share(owner, row.pk, guests=True)
    assert "say who you are" in ask(guest, link["secret"], status=422, name=name)["detail"]


# Observing


def test_who_may_observe_watches_unasked_and_is_seen(owner, row, bob, web1, house, alices):
    give(bob, web1, capabilities=["observe"])
    assert [item["id"] for item in Api(bob).get("/sessions").json()["items"]] == [str(row.pk)]
    assert Api(bob).get(f"/sessions/{row.pk}").json()["person"] == "alice"
    assert Api(bob).post(f"/sessions/{row.pk}/tickets", {"role": "driver"}).status_code == 403
    bobs = house.enter(Api(bob), row.pk)
    assert (bobs.seat.via, bobs.seat.may_drive) == ("observe", False)
    assert [item["via"] for item in alices.wire.of("viewers")[-1]["items"]] == ["owner", "observe"]
    answer = owner.delete(f"/sessions/{row.pk}/viewers/{bobs.id}")
    assert answer.status_code == 403 and bobs.wire.closed is None
    assert Api(bob).delete(f"/sessions/{row.pk}").status_code == 403, "to end it is for admins"


def test_observe_is_for_a_host_and_a_login_and_live_sessions(row, bob, web1, alice, house, terminal):
    give(bob, web1, "guest", capabilities=["observe"])
    give(bob, web1, "root", capabilities=["terminal"])
    past = session_row(alice, web1, login="guest")
    end_session(session_id=past.pk, reason="over")
    assert Api(bob).get("/sessions").json()["items"] == []
    for session in (row, past):
        assert Api(bob).get(f"/sessions/{session.pk}").status_code == 404
        assert Api(bob).post(f"/sessions/{session.pk}/tickets", {"role": "watcher"}).status_code == 404


def test_an_admin_without_observe_watches_nothing(row, admin, auditor, terminal):
    for person in (admin, auditor):
        answer = Api(person).post(f"/sessions/{row.pk}/tickets", {"role": "watcher"})
        assert answer.status_code == 403


def test_tokens_do_as_their_owner_within_their_scopes(row, bob, web1, terminal):
    give(bob, web1, capabilities=["observe"])
    for scopes, status in (((), 200), (("sessions",), 200), (("hosts",), 403)):
        api = Api(token=make_token(bob, *scopes), csrf=False)
        assert api.post(f"/sessions/{row.pk}/tickets", {"role": "watcher"}).status_code == status
