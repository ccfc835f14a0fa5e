"""Where a second factor is required: of a host, or of the members of a group. A step up from being logged in.

One rule for every door: `require_second_factor` when something is opened, joined or replayed, and `required_of` when it
is looked at again. A portal login holds where a passkey, a code or a recovery code was given in it within the last
12 hours. An SSH key holds where it lives in a security key that was touched. An API token never does: nobody is there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.db.models import Q
from django.http import HttpRequest

from terminals.keys import KnownKey
from terminals.models import Person, SecondFactorRule
from tunnels import clock
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import NotAllowed
from tunnels.models import Host, State

FRESH_S = 12 * 3600
GIVEN = "second_factor"
"""In the data of a portal login: who gave a factor in it, and when."""


class SecondFactorRequired(NotAllowed):
    """The person may, once they have confirmed who they are. Pages lead them there and back."""


class By(StrEnum):
    """How somebody came in."""

    LOGIN = "login"
    API = "API token"
    KEY = "key"
    NOBODY = "nobody"
    """A guest, who has no account."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How somebody came in, and whether that was with a second factor."""

    by: By
    holds: bool = False


BY_TOKEN = Proof(By.API)
OF_GUEST = Proof(By.NOBODY)


def proof_of_login(request: HttpRequest) -> Proof:
    """Of a request by cookie. A factor that the person does not have any more proves nothing."""
    given, person = request.session.get(GIVEN), request.user
    if not isinstance(person, Person) or given is None or given["person"] != person.pk:
        return Proof(By.LOGIN)
    is_fresh = 0 <= clock.now().timestamp() - given["at"] < FRESH_S
    return Proof(By.LOGIN, is_fresh and has_factor(person))


def note_factor(request: HttpRequest, person: Person) -> None:
    """The person has just given one in this login, or on the way to it."""
    request.session[GIVEN] = {"person": person.pk, "at": clock.now().timestamp()}


def proof_of_key(key: KnownKey) -> Proof:
    return Proof(By.KEY, key.is_security_key)


def has_factor(person: Person) -> bool:
    return bool(Authenticator.objects.filter(user=person).exclude(type=Authenticator.Type.RECOVERY_CODES).exists())


def required_of(person_id: int | None, host_id: UUID) -> bool:
    """Whether a rule asks this person (None: a guest) for a second factor on this host, now."""
    return bool(required_among(person_id, [host_id]))


def required_among(person_id: int | None, host_ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the hosts where `required_of` holds."""
    of_person = Q() if person_id is None else Q(group__user=person_id)
    rules = SecondFactorRule.objects.filter(Q(host__in=host_ids) | of_person)
    hosts = frozenset(rules.values_list("host", flat=True))
    return frozenset(host_ids) if None in hosts else hosts


def require_second_factor(person: Person | None, host: Host, proof: Proof) -> None:
    """SecondFactorRequired, with what to do about it, where a rule asks for more than `proof`."""
    if proof.holds or not required_of(person.pk if person else None, host.pk):
        return
    needed = f"a second factor is required on {host.name}"
    raise SecondFactorRequired(
        {
            By.LOGIN: f"{needed}: confirm it in the portal, at /account/confirm/",
            By.API: f"{needed}, which an API token cannot give: use the portal",
            By.NOBODY: f"{needed}, which guests do not have: log in",
            By.KEY: f"{needed}, which this key cannot give: use the portal, or a FIDO key such as ed25519-sk",
        }[proof.by]
    )


def set_second_factor(*, host: Host | None = None, group: Group | None = None, required: bool, actor: Actor) -> None:
    """Require a second factor on the host, or of the group, or no more. What is open without one ends."""
    name, what = (host.name, "host") if host else (group.name if group else "", "group")
    facts: dict[str, Any] = {"host": host.name} if host else {}
    setting = f"second factor of {what} {name}"
    with act(Event.SETTING_CHANGED, actor=actor, setting=setting, **facts):
        if host is not None and required and not Host.objects.filter(pk=host.pk, state=State.APPROVED).exists():
            raise NotAllowed(f"{host.name} is not an approved host")
        if required:
            SecondFactorRule.objects.get_or_create(host=host, group=group, defaults={"created_by": actor.person})
        else:
            SecondFactorRule.objects.filter(host=host, group=group).delete()
        record(Event.SETTING_CHANGED, actor=actor, setting=setting, required=required, **facts)
