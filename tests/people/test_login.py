"""The door of the portal: who gets in, what strangers learn, what is on record."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from terminals.models import Person
from tests.conftest import PASSWORD
from tests.people.helpers import ADDRESS, last_event
from tunnels.models import AuditEvent

WRONG = "not the password"


def browser() -> Client:
    return Client(REMOTE_ADDR=ADDRESS)


def log_in(client: Client, name: str, password: str = PASSWORD, path: str = "/login/"):
    return client.post(path, {"login": name, "password": password})


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def errors(answer) -> list[str]:
    return answer.context["form"].non_field_errors()


def story() -> list[tuple[str, str, str]]:
    return [(entry.event, entry.person, entry.outcome) for entry in AuditEvent.objects.order_by("sequence")]


def test_three_people(alice, bob, charlie):
    """alice and bob know their own password, charlie guesses."""
    for name in ("alice", "bob"):
        client = browser()
        answer = log_in(client, name)
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert is_in(client)
    guess = browser()
    assert log_in(guess, "alice", WRONG).status_code == 200
    assert not is_in(guess)
    assert story() == [
        ("person.logged_in", "alice", "ok"),
        ("person.logged_in", "bob", "ok"),
        ("person.login_failed", "alice", "refused"),
    ]
    assert (last_event().address, last_event().detail) == (ADDRESS, {"reason": "wrong password"})


def test_strangers_cannot_tell_which_names_exist(alice, bob):
    Person.objects.filter(pk=bob.pk).update(is_active=False)
    told = set()
    for name, password in (("alice", WRONG), ("bob", PASSWORD), ("nobody", WRONG)):
        answer = log_in(browser(), name, password)
        page = re.sub(r'csrfmiddlewaretoken"[^>]*|nonce="[^"]*"', "", answer.content.decode()).replace(name, "NAME")
        told.add((answer.status_code, str(errors(answer)), page))
    assert len(told) == 1
    reasons = [entry.detail["reason"] for entry in AuditEvent.objects.order_by("sequence")]
    assert reasons == ["wrong password", "disabled", "unknown person"]


def test_disabled_people_are_out(alice, charlie):
    client = browser()
    log_in(client, "alice")
    assert client.get("/api/v1/hosts").status_code == 200
    Person.objects.filter(pk=alice.pk).update(is_active=False)
    assert client.get("/api/v1/hosts").status_code == 401
    again = browser()
    log_in(again, "alice")
    assert not is_in(again)


def test_names_are_recorded_as_given_and_made_safe_to_show(db):
    log_in(browser(), "eve\u202e\x1b[31m")
    assert last_event().person == "eve<U+202E><U+001B>[31m"


def test_guessing_is_slowed_down(alice, bob):
    for _ in range(5):
        assert "too many" not in str(errors(log_in(browser(), "alice", WRONG))).lower()
    client = browser()
    answer = log_in(client, "alice")
    assert "too many" in str(errors(answer)).lower(), "even the right password has to wait"
    assert not is_in(client)
    assert last_event().detail == {"reason": "too many attempts"}
    neighbour = browser()
    log_in(neighbour, "bob")
    assert is_in(neighbour)


def test_guessing_many_names_from_one_address_is_slowed_down(charlie):
    for number in range(20):
        log_in(browser(), f"nobody{number}", WRONG)
    client = browser()
    log_in(client, "charlie")
    assert not is_in(client)
    elsewhere = Client(REMOTE_ADDR="198.51.100.99")
    log_in(elsewhere, "charlie")
    assert is_in(elsewhere)


def test_a_forged_forwarding_header_escapes_no_limit(db, alice):
    for number in range(5):
        browser().post(
            "/login/", {"login": "alice", "password": WRONG}, headers={"X-Forwarded-For": f"10.0.0.{number}"}
        )
    assert {entry.address for entry in AuditEvent.objects.all()} == {ADDRESS}


def test_the_session_changes_at_login(alice):
    client = browser()
    client.get("/login/")
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies["brokerd"] = session.session_key
    log_in(client, "alice")
    assert client.session.session_key != session.session_key


def test_logging_out(alice, bob):
    client, other = browser(), browser()
    log_in(client, "alice")
    log_in(other, "alice")
    assert client.get("/logout/").status_code == 405
    assert is_in(client)
    assert client.post("/logout/").status_code == 302
    assert (is_in(client), is_in(other)) == (False, True)
    assert (last_event().event, last_event().person) == ("person.logged_out", "alice")


def test_login_and_logout_need_the_csrf_token(alice):
    client = Client(enforce_csrf_checks=True)
    assert log_in(client, "alice").status_code == 403
    client.force_login(alice)
    assert client.post("/logout/").status_code == 403
    assert is_in(client)


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_nobody_is_sent_elsewhere(alice, target):
    answer = browser().post("/login/", {"login": "alice", "password": PASSWORD, "next": target})
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_back_to_where_one_came_from(alice):
    answer = browser().post("/login/", {"login": "alice", "password": PASSWORD, "next": "/hosts/web1/"})
    assert answer["Location"] == "/hosts/web1/"


def test_changing_ones_password(alice, bob):
    mine, elsewhere = browser(), browser()
    log_in(mine, "alice")
    log_in(elsewhere, "alice")
    new = "a wholly new one"
    form = {"oldpassword": WRONG, "password1": new, "password2": new}
    assert mine.post("/account/password/", form).status_code == 200
    assert Person.objects.get(pk=alice.pk).check_password(PASSWORD)
    assert mine.post("/account/password/", {**form, "oldpassword": PASSWORD}).status_code == 302
    assert Person.objects.get(pk=alice.pk).check_password(new)
    assert Person.objects.get(pk=bob.pk).check_password(PASSWORD)
    assert last_event().detail == {"setting": "person alice", "changed": "password"}
    assert mine.get("/api/v1/hosts").status_code == 200
    assert elsewhere.get("/api/v1/hosts").status_code == 401, "other browsers are out"
    assert browser().get("/account/password/").status_code == 302


def test_nobody_signs_up(db):
    for name in ("account_signup", "account_reset_password", "account_email"):
        with pytest.raises(NoReverseMatch):
            reverse(name)
    page = browser().get("/login/")
    assert page.status_code == 200
    assert "sign up" not in page.content.decode().lower()
    assert browser().get("/signup/").status_code == 404


def test_the_admin_has_no_door_of_its_own(admin, alice):
    answer = browser().get("/admin/login/?next=/admin/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=%2Fadmin%2F")
    assert log_in(browser(), "admin", path="/admin/login/").status_code == 302
    hers = browser()
    log_in(hers, "alice")
    assert hers.get("/admin/").status_code in (302, 403)
    assert hers.get("/admin/login/").status_code == 403
