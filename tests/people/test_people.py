"""The acts on people and groups."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from terminals.grants import create_grant
from terminals.groups import create_group, delete_group, rename_group
from terminals.models import AUDITORS, Person
from terminals.people import create_person, disable_person, enable_person, set_password, set_roles
from terminals.reachable import reachable_hosts
from tests.conftest import PASSWORD
from tests.people.helpers import events, last_event
from tunnels.audit import Actor
from tunnels.errors import Conflict, Invalid

ADMIN = Actor(person="admin", address="192.0.2.1")


def test_a_person_is_made_with_their_roles(db):
    plain = create_person(name="dora", password="a long enough one", actor=ADMIN)
    auditor = create_person(name="erik", auditor=True, actor=ADMIN)
    admin = create_person(name="frida", admin=True, actor=ADMIN)
    assert (plain.is_superuser, plain.is_staff, plain.is_auditor) == (False, False, False)
    assert plain.check_password("a long enough one")
    assert auditor.is_auditor
    assert not auditor.has_usable_password()
    assert (admin.is_superuser, admin.is_staff, admin.is_auditor) == (True, True, False)
    assert events() == ["person.created"] * 3
    assert last_event().detail == {"name": "frida", "admin": True, "auditor": False}


@pytest.mark.parametrize("name", ["", "Dora", "-dora", "do ra", "dora\n", "d" * 33, "dora@x", "dörte"])
def test_names_that_are_none(db, name):
    with pytest.raises(Invalid, match="not a name"):
        create_person(name=name, actor=ADMIN)
    assert events() == ["!person.created"]


@pytest.mark.parametrize("password", ["", "tiny7", "password1234", "dorothea12"])
def test_passwords_that_are_too_weak(db, password):
    with pytest.raises(Invalid):
        create_person(name="dorothea12", password=password, actor=ADMIN)
    assert not Person.objects.exists()
    assert "tiny7" not in str(last_event().detail)


def test_a_name_is_taken_once(alice):
    with pytest.raises(Conflict, match="there is a person alice already"):
        create_person(name="alice", actor=ADMIN)


def test_disabling_ends_the_persons_web_logins_and_nobody_elses(alice, bob, charlie, web1, alices):
    browsers = {}
    for person in (alice, bob, charlie):
        browsers[person] = Client()
        browsers[person].force_login(person)
    assert reachable_hosts(alice, address=None).exists()
    disable_person(person=alice, actor=ADMIN)
    assert not reachable_hosts(alice, address=None).exists()
    alive = [person.username for person, client in browsers.items() if client.session.get("_auth_user_id")]
    assert alive == ["bob", "charlie"]
    assert Person.objects.get(pk=alice.pk).grants.standing().exists(), "grants stay for when she is enabled again"
    with pytest.raises(Conflict, match="disabled already"):
        disable_person(person=alice, actor=ADMIN)
    enable_person(person=alice, actor=ADMIN)
    assert reachable_hosts(alice, address=None).exists()
    assert events()[-3:] == ["person.disabled", "!person.disabled", "setting.changed"]
    with pytest.raises(Conflict, match="is not disabled"):
        enable_person(person=alice, actor=ADMIN)


def test_the_last_admin_stays(admin, alice):
    for act in (
        lambda: disable_person(person=admin, actor=ADMIN),
        lambda: set_roles(person=admin, admin=False, groups=[], actor=ADMIN),
    ):
        with pytest.raises(Conflict, match="only admin"):
            act()
    set_roles(person=alice, admin=True, groups=[], actor=ADMIN)
    disable_person(person=admin, actor=ADMIN)
    assert Person.objects.get(is_superuser=True, is_active=True) == alice


def test_roles_are_set_and_audited(admin, alice, charlie):
    auditors = Group.objects.create(name=AUDITORS)
    set_roles(person=alice, admin=False, groups=[auditors], actor=ADMIN)
    assert (alice.is_auditor, charlie.is_auditor) == (True, False)
    assert last_event().detail == {"setting": "person alice", "admin": False, "groups": ["auditors"]}


def test_a_new_password_logs_the_old_browser_out(alice, bob):
    mine, bobs = Client(), Client()
    mine.force_login(alice)
    bobs.force_login(bob)
    set_password(person=alice, password="another good one", actor=ADMIN)
    assert "_auth_user_id" not in mine.session
    assert "_auth_user_id" in bobs.session
    assert "another" not in str(last_event().detail)
    assert not Person.objects.get(pk=alice.pk).check_password(PASSWORD)


def test_groups(alice, web1):
    ops = create_group(name="ops", actor=ADMIN)
    with pytest.raises(Conflict, match="ops already"):
        create_group(name="ops", actor=ADMIN)
    assert rename_group(group=ops, name="operators", actor=ADMIN).name == "operators"
    create_grant(group=ops, host=web1, logins=["root"], actor=ADMIN)
    with pytest.raises(Conflict, match="has grants"):
        delete_group(group=ops, actor=ADMIN)
    delete_group(group=create_group(name="empty", actor=ADMIN), actor=ADMIN)
    assert Group.objects.get().name == "operators"


@pytest.mark.parametrize("name", ["", " ops", "o\u202eps", "x" * 65])
def test_group_names_that_are_none(db, name):
    with pytest.raises(Invalid):
        create_group(name=name, actor=ADMIN)


def test_nobody_becomes_auditor_by_a_rename(alice):
    team = create_group(name="team", actor=ADMIN)
    team.user_set.add(alice)
    with pytest.raises(Conflict):
        rename_group(group=team, name=AUDITORS, actor=ADMIN)
    assert not alice.is_auditor
