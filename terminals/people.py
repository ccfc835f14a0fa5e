"""People are made, changed and disabled here. Nobody is deleted: the audit and past sessions name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from terminals.models import AUDITORS, PERSON_NAME, Person, Session, WebLogin
from terminals.sessions import end_session
from tunnels.acts import act, together
from tunnels.audit import OPERATOR, Actor, Event, record
from tunnels.errors import Conflict, Invalid, NotFound
from tunnels.text import printable


def find_person(name: str) -> Person:
    """The person of that name, disabled or not. For those who may know who there is."""
    if person := Person.objects.filter(username=name).first():
        return person
    raise NotFound(f"there is no person {printable(name, 40)}")


def find_group(name: str) -> Group:
    if group := Group.objects.filter(name=name).first():
        return group
    raise NotFound(f"there is no group {printable(name, 40)}")


def create_person(
    *, name: str, password: str | None = None, admin: bool = False, auditor: bool = False, actor: Actor
) -> Person:
    """A new portal user; without a password they cannot log in to the portal until one is set."""
    with act(Event.PERSON_CREATED, actor=actor, name=name):
        _check_name(name)
        person = Person(username=name, is_superuser=admin, is_staff=admin)
        _set_password(person, password)
        person.save(force_insert=True)
        if auditor:
            person.groups.add(Group.objects.get_or_create(name=AUDITORS)[0])
        record(Event.PERSON_CREATED, actor=actor, name=name, admin=admin, auditor=auditor)
    return person


def disable_person(*, person: Person, actor: Actor) -> None:
    """Shut the account and its web sessions; grants, keys and tokens stay, and hold no more until it is enabled."""
    with act(Event.PERSON_DISABLED, actor=actor, name=person.username):
        if not Person.objects.filter(pk=person.pk, is_active=True).exists():
            raise Conflict(f"{person.username} is disabled already")
        _keep_an_admin(person, actor)
        _set(person, is_active=False)
        person.web_logins.all().delete()
        record(Event.PERSON_DISABLED, actor=actor, name=person.username)


def enable_person(*, person: Person, actor: Actor) -> None:
    """Open a disabled account again, with whatever grants still stand."""
    with _change(person, actor) as facts:
        if Person.objects.filter(pk=person.pk, is_active=True).exists():
            raise Conflict(f"{person.username} is not disabled")
        _set(person, is_active=True)
        record(Event.SETTING_CHANGED, actor=actor, **facts, enabled=True)


def set_roles(*, person: Person, admin: bool, groups: Iterable[Group], actor: Actor) -> None:
    """Make the person an admin or not, and a member of exactly `groups`."""
    with _change(person, actor) as facts:
        if not admin:
            _keep_an_admin(person, actor)
        _set(person, is_superuser=admin, is_staff=admin)
        person.groups.set(groups)
        names = sorted(person.groups.values_list("name", flat=True))
        record(Event.SETTING_CHANGED, actor=actor, **facts, admin=admin, groups=names)


def set_password(*, person: Person, password: str, actor: Actor) -> None:
    """Give the person a new password; whoever is logged in as them is logged out."""
    with _change(person, actor) as facts:
        _set_password(person, password)
        person.save(update_fields=["password"])
        person.web_logins.all().delete()
        record(Event.SETTING_CHANGED, actor=actor, **facts, changed="password")


def end_login(*, login: WebLogin, actor: Actor) -> None:
    """Log out one browser of a person. What was opened from it ends."""
    person = login.person
    if person is None:
        raise NotFound("nobody is logged in by it")
    with _change(person, actor) as facts:
        deleted, _ = WebLogin.objects.filter(person=person, login=login.login).delete()
        if not deleted:
            raise Conflict("this login has ended already")
        record(Event.SETTING_CHANGED, actor=actor, **facts, ended_logins=1, of=login.address)


def end_logins(*, person: Person, actor: Actor, but: str | None = None) -> int:
    """Log out all browsers of the person, but the login called `but`. How many there were."""
    with _change(person, actor) as facts:
        _, deleted = person.web_logins.exclude(login=but or "").delete()
        count = deleted.get("terminals.WebLogin", 0)
        record(Event.SETTING_CHANGED, actor=actor, **facts, ended_logins=count)
    return count


def end_everything(*, person: Person, reason: str, actor: Actor) -> tuple[int, int]:
    """End all that the person has open, over whichever door, and log them out: counts of sessions and logins.

    It keeps nobody out: disable the account for that.
    """
    live = Session.objects.filter(person=person, ended_at=None)
    with together():
        sessions = sum(end_session(session_id=row.pk, reason=reason, actor=actor) for row in live)
        return sessions, end_logins(person=person, actor=actor)


def remove_factors(*, person: Person, actor: Actor) -> None:
    """For somebody who has lost them. They are logged out, and with their password alone they set up new ones."""
    with _change(person, actor) as facts:
        deleted, _ = Authenticator.objects.filter(user=person).delete()
        if not deleted:
            raise Conflict(f"{person.username} has no second factor")
        person.web_logins.all().delete()
        record(Event.SETTING_CHANGED, actor=actor, **facts, second_factor="all", done="removed")


def _change(person: Person, actor: Actor) -> Any:
    return act(Event.SETTING_CHANGED, actor=actor, setting=f"person {person.username}")


def _check_name(name: str) -> None:
    try:
        PERSON_NAME(name)
    except ValidationError as error:
        raise Invalid(f"{name[:40]!r} is not a name for a person: {error.messages[0]}") from error
    if Person.objects.filter(username=name).exists():
        raise Conflict(f"there is a person {name} already; take another name")


def _set_password(person: Person, password: str | None) -> None:
    if password is None:
        person.set_unusable_password()
        return
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error
    person.set_password(password)


def _keep_an_admin(person: Person, actor: Actor) -> None:
    """Nobody locks the portal behind themselves. Who runs commands on the broker itself can make another admin there,
    and must be able to shut out a stolen account that is the only one."""
    if actor == OPERATOR:
        return
    admins = Person.objects.filter(is_superuser=True, is_active=True)
    if admins.filter(pk=person.pk).exists() and not admins.exclude(pk=person.pk).exists():
        raise Conflict(f"{person.username} is the only admin; make another one first")


def _set(person: Person, **facts: bool) -> None:
    for name, value in facts.items():
        setattr(person, name, value)
    person.save(update_fields=list(facts))
