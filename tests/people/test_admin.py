"""The Django admin: only superusers, only through acts, nothing deleted."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from terminals.models import AUDITORS, ApiToken, Grant, Person
from tests.conftest import PASSWORD
from tests.people.helpers import ADDRESS, events, last_event, make_token

PAGES = [
    "terminals/person/",
    "terminals/person/add/",
    "terminals/grant/",
    "terminals/grant/add/",
    "terminals/apitoken/",
    "terminals/session/",
    "auth/group/",
]
NEW = "a wholly new one"


def browser(person: Person) -> Client:
    client = Client(REMOTE_ADDR=ADDRESS)
    client.force_login(person)
    return client


def act(client: Client, where: str, action: str, *rows) -> str:
    """Run an admin action on `rows`; what the page then says."""
    form = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(f"/admin/{where}/", form, follow=True).content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_who_gets_in(alice, bob, charlie, auditor, admin, page):
    # bob is staff by mistake, with all permissions that Django knows: still no admin.
    Person.objects.filter(pk=bob.pk).update(is_staff=True)
    for person in (alice, bob, charlie, auditor):
        assert browser(person).get(f"/admin/{page}").status_code in (302, 403)
    assert browser(admin).get(f"/admin/{page}").status_code == 200


@pytest.mark.parametrize("where", ["terminals/person", "terminals/grant", "auth/group"])
def test_nothing_is_deleted_as_a_row(admin, alice, alices, where):
    group = Group.objects.create(name="team")
    row = {"terminals/person": alice, "terminals/grant": alices, "auth/group": group}[where]
    client = browser(admin)
    assert client.get(f"/admin/{where}/{row.pk}/change/").status_code == 200
    assert client.post(f"/admin/{where}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert act(client, where, "delete_selected", row)
    assert type(row).objects.filter(pk=row.pk).exists()


def test_making_people(admin):
    client = browser(admin)
    team = Group.objects.create(name="team")
    form = {"username": "dora", "password": NEW, "groups": [team.pk]}
    assert client.post("/admin/terminals/person/add/", {**form, "username": "Dora"}).status_code == 200
    assert client.post("/admin/terminals/person/add/", {**form, "password": "short"}).status_code == 200
    assert client.post("/admin/terminals/person/add/", {**form, "username": "admin"}).status_code == 200
    assert not Person.objects.filter(username__iexact="dora").exists()
    assert client.post("/admin/terminals/person/add/", form).status_code == 302
    dora = Person.objects.get(username="dora")
    assert dora.check_password(NEW)
    assert list(dora.groups.all()) == [team]
    assert not dora.is_superuser
    assert events() == ["person.created", "setting.changed"]
    assert (last_event().person, last_event().address) == ("admin", ADDRESS)


def test_a_person_without_a_password(admin):
    browser(admin).post("/admin/terminals/person/add/", {"username": "dora", "password": ""})
    assert not Person.objects.get(username="dora").has_usable_password()


def test_roles_and_password_of_a_person(admin, alice, bob):
    auditors = Group.objects.create(name=AUDITORS)
    client = browser(admin)
    page = client.get(f"/admin/terminals/person/{alice.pk}/change/").content.decode()
    assert alice.password not in page
    form = {"is_superuser": "on", "groups": [auditors.pk], "password": ""}
    assert client.post(f"/admin/terminals/person/{alice.pk}/change/", form).status_code == 302
    alice = Person.objects.get(pk=alice.pk)
    assert (alice.is_superuser, alice.is_staff, alice.is_auditor) == (True, True, True)
    assert alice.check_password(PASSWORD), "an empty field leaves it as it is"
    client.post(f"/admin/terminals/person/{alice.pk}/change/", {**form, "password": NEW})
    assert Person.objects.get(pk=alice.pk).check_password(NEW)
    bob = Person.objects.get(pk=bob.pk)
    assert not bob.is_auditor
    assert bob.check_password(PASSWORD)
    assert events() == ["setting.changed", "setting.changed"]


def test_a_name_does_not_change(admin, alice):
    browser(admin).post(f"/admin/terminals/person/{alice.pk}/change/", {"username": "mallory", "password": ""})
    assert Person.objects.get(pk=alice.pk).username == "alice"


def test_the_only_admin_cannot_lock_the_door(admin):
    client = browser(admin)
    client.post(f"/admin/terminals/person/{admin.pk}/change/", {"groups": [], "password": NEW})
    assert "only admin" in act(client, "terminals/person", "disable", admin)
    admin = Person.objects.get(pk=admin.pk)
    assert (admin.is_superuser, admin.is_active) == (True, True)
    assert admin.check_password(PASSWORD), "one's own password is not changed here"
    assert events() == ["!setting.changed", "!person.disabled"]


def test_disable_and_enable(admin, alice, charlie):
    client, hers = browser(admin), browser(alice)
    assert "Alice is disabled" in act(client, "terminals/person", "disable", alice)
    assert hers.get("/api/v1/hosts").status_code == 401
    assert browser(charlie).get("/api/v1/hosts").status_code == 200
    assert "Alice is enabled" in act(client, "terminals/person", "enable", alice)
    assert Person.objects.get(pk=alice.pk).is_active
    assert events() == ["person.disabled", "setting.changed"]


GRANT = {"logins": "root, pi", "capabilities": ["terminal", "exec"]}


def test_making_and_revoking_grants(admin, alice, web1, new1):
    client = browser(admin)
    form = {**GRANT, "person": alice.pk, "host": str(web1.pk), "networks": "10.0.0.0/8 192.0.2.0/24"}
    form |= {"valid_until_0": "2999-01-01", "valid_until_1": "12:00"}
    assert client.post("/admin/terminals/grant/add/", form).status_code == 302
    grant = Grant.objects.get()
    assert (grant.person, grant.host, grant.logins) == (alice, web1, ["pi", "root"])
    assert (grant.capabilities, grant.networks) == (["terminal", "exec"], ["10.0.0.0/8", "192.0.2.0/24"])
    assert (grant.valid_until.year, grant.created_by) == (2999, "admin")
    page = client.get("/admin/terminals/grant/")
    assert "alice" in page.content.decode()
    change = client.post(f"/admin/terminals/grant/{grant.pk}/change/", {**form, "logins": "guest"})
    assert change.status_code == 403, "never edited"
    assert f"Grant {grant.pk} is revoked" in act(client, "terminals/grant", "revoke", grant)
    assert "revoked already" in act(client, "terminals/grant", "revoke", grant)
    assert events() == ["grant.created", "grant.revoked", "!grant.revoked"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"person": ""}, "one person or for one group"),
        ({"all_hosts": "on"}, "on one host"),
        ({"host": "", "tag": "nonsense"}, "is not a tag"),
        ({"logins": "two;words"}, "is not a login"),
        ({"networks": "10.0.0.1/8"}, "is not a network"),
        ({"capabilities": []}, "required"),
        ({"valid_until_0": "2020-01-01", "valid_until_1": "00:00"}, "over already"),
        ({"idle_s": "5s"}, "between 10 s and 30 d"),
        ({"longest_s": "for ever"}, "Write a duration"),
    ],
)
def test_grants_that_make_no_sense_are_told_on_the_form(admin, alice, web1, change, told):
    form = {**GRANT, "person": alice.pk, "host": str(web1.pk), **change}
    answer = browser(admin).post("/admin/terminals/grant/add/", form)
    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert not Grant.objects.exists()


def test_a_grant_with_limits(admin, alice, web1):
    client = browser(admin)
    form = {**GRANT, "person": alice.pk, "host": str(web1.pk), "idle_s": "10m", "longest_s": "2h", "grace_s": ""}
    assert client.post("/admin/terminals/grant/add/", form).status_code == 302
    grant = Grant.objects.get()
    assert (grant.idle_s, grant.longest_s, grant.grace_s) == (600, 7200, None)
    page = client.get(f"/admin/terminals/grant/{grant.pk}/change/").content.decode()
    assert "idle 10 min, longest 2 h" in page


def test_a_grant_on_a_tag(admin, bob, web1):
    form = {**GRANT, "person": bob.pk, "tag": "site=berlin"}
    assert browser(admin).post("/admin/terminals/grant/add/", form).status_code == 302
    assert browser(bob).get("/api/v1/hosts/web1").json()["logins"] == ["pi", "root"]


def test_a_waiting_machine_is_not_offered(admin, alice, new1):
    page = browser(admin).get("/admin/terminals/grant/add/").content.decode()
    assert str(new1.pk) not in page


def test_tokens_are_shown_and_revoked_but_not_made(admin, alice):
    make_token(alice)
    token, client = ApiToken.objects.get(), browser(admin)
    page = client.get(f"/admin/terminals/apitoken/{token.pk}/change/").content.decode()
    assert token.digest not in page
    assert client.get("/admin/terminals/apitoken/add/").status_code == 403
    assert client.get("/admin/terminals/session/add/").status_code == 403
    assert "is revoked" in act(client, "terminals/apitoken", "revoke", token)
    assert events() == ["token.created", "token.revoked"]


def test_groups(admin, web1, alice):
    client = browser(admin)
    assert client.post("/admin/auth/group/add/", {"name": "ops"}).status_code == 302
    ops = Group.objects.get(name="ops")
    assert client.post(f"/admin/auth/group/{ops.pk}/change/", {"name": "operators"}).status_code == 302
    assert Group.objects.get().name == "operators"
    client.post(f"/admin/auth/group/{ops.pk}/change/", {"name": AUDITORS})
    assert Group.objects.get().name == "operators"
    assert "is deleted" in act(client, "auth/group", "remove", ops)
    assert not Group.objects.exists()
    assert events() == ["setting.changed", "setting.changed", "!setting.changed", "setting.changed"]
