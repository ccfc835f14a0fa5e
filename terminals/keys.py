"""Public keys of people: added, removed, and told to the gateway, which knows people by nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q

from terminals.models import Person, PersonKey
from tunnels import clock
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.enrollment import give_way
from tunnels.errors import Conflict, Invalid, NotFound
from tunnels.keys import ALGORITHMS, SECURITY_KEY, SECURITY_KEYS, BadKey, PublicKey, parse_public_key
from tunnels.models import KeyClaim
from tunnels.text import printable

MAX_KEYS = 20
"""Of one person: a key for each device, not one for each purpose."""
NOTED_EVERY = timedelta(minutes=1)
"""How often a use is written down; a script that connects all the time must not make the database write each time."""


KNOWN = ("fingerprint", "person_id", "person__username", "pk", "algorithm")
"""The columns of a `KnownKey`."""


class KnownKey(NamedTuple):
    """A key that opens the gateway, and for whom."""

    fingerprint: str
    person_id: int
    person: str
    """Their name."""
    key_id: int
    algorithm: str = ""

    @property
    def is_security_key(self) -> bool:
        """Whether somebody touched it to log in: AsyncSSH takes no signature of such a key without."""
        return self.algorithm.startswith(SECURITY_KEY)


def add_key(*, person: Person, text: str, actor: Actor) -> PersonKey:
    """Let the person in by the key in `text`, one OpenSSH public key line.

    Whose a key is that somebody else has, a person or a host, is told to the audit only.
    """
    with act(Event.KEY_ADDED, actor=actor, owner=person.username) as facts:
        given = _parse(text)
        facts.update(fingerprint=given.fingerprint, algorithm=given.algorithm, comment=given.comment)
        _check(person, given, actor)
        key = PersonKey.objects.create(
            person=person,
            algorithm=given.algorithm,
            line=given.line,
            fingerprint=given.fingerprint,
            bits=given.bits,
            comment=given.comment,
        )
        record(Event.KEY_ADDED, actor=actor, **_facts(key))
    return key


def is_security_key(text: str) -> bool:
    """Whether the line is one of a key that has to be touched. Invalid where it is no public key."""
    return _parse(text).algorithm.startswith(SECURITY_KEY)


def remove_key(*, key: PersonKey, actor: Actor) -> None:
    """From now on the key opens nothing, and may be added again by anybody who holds it."""
    with act(Event.KEY_REMOVED, actor=actor, **_facts(key)):
        deleted, _ = PersonKey.objects.filter(pk=key.pk).delete()
        if not deleted:
            raise Conflict(f"key {key.fingerprint} is removed already")
        KeyClaim.objects.filter(pk=key.fingerprint).delete()
        record(Event.KEY_REMOVED, actor=actor, **_facts(key))


def find_key(person: Person, fingerprint: str) -> PersonKey:
    """The person's key with this fingerprint (`SHA256:...`)."""
    if key := person.keys.filter(fingerprint=fingerprint).first():
        return key
    raise NotFound(f"{person.username} has no key {printable(fingerprint, 64)}; list_keys {person.username} shows all")


def keys_of_people() -> list[KnownKey]:
    """All keys of people who are not disabled, for a cache: the gateway may ask no database before a key has proved
    itself."""
    active = PersonKey.objects.filter(person__is_active=True)
    return [KnownKey(*row) for row in active.values_list(*KNOWN)]


def addresses_of_people() -> set[str]:
    """From where keys were last used."""
    used = PersonKey.objects.filter(person__is_active=True).exclude(last_used_address="")
    return set(used.values_list("last_used_address", flat=True))


def names_of_people() -> set[str]:
    """All accounts, disabled ones included: no machine may be taken for one of them."""
    return set(Person.objects.values_list("username", flat=True))


def note_use(key_id: int, address: str, now: datetime | None = None) -> None:
    """Write down that the key opened a connection from `address`, unless that was done a moment ago."""
    now = now or clock.now()
    due = PersonKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=now - NOTED_EVERY), pk=key_id)
    if due.exists():  # reading takes no lock, an update that changes nothing does
        due.update(last_used_at=now, last_used_address=address)


def _parse(text: str) -> PublicKey:
    try:
        return parse_public_key(text, ALGORITHMS | SECURITY_KEYS)
    except BadKey as error:
        raise Invalid(str(error)) from error


def _check(person: Person, given: PublicKey, actor: Actor) -> None:
    """Locks the person, so that keys that are added at the same time are counted one after the other."""
    if not Person.objects.select_for_update().get(pk=person.pk).is_active:
        raise Conflict(f"{person.username} is disabled; enable the account first")
    own = "you have" if actor.person == person.username else f"{person.username} has"
    if person.keys.filter(fingerprint=given.fingerprint).exists():
        raise Conflict(f"{own} this key already")
    if person.keys.count() >= MAX_KEYS:
        raise Conflict(f"{own} {MAX_KEYS} keys, which is the most there may be; remove one that is not used any more")
    if not KeyClaim.objects.take(given.fingerprint) and not give_way(
        fingerprint=given.fingerprint, owner=person.username, actor=actor
    ):
        raise Conflict("this key is in use already; make a new one", cause=_whose(given))


def _whose(given: PublicKey) -> str:
    other = PersonKey.objects.filter(fingerprint=given.fingerprint).select_related("person").first()
    return f"this key belongs to {other.person}" if other else "this key belongs to a host"


def _facts(key: PersonKey) -> dict[str, Any]:
    return {
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "comment": key.comment,
        "owner": key.person.username,
    }
