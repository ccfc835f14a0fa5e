"""Replacing the broker's keys without losing a host: both count for a while, and it is known who knows the new one.

Begun, the next key is told to everybody: the gateway's on each connection (OpenSSH's `hostkeys-00@openssh.com`), the
authority's with each answer about an enrollment. What a host has learned is found out, not assumed: it asked the
gateway to prove the new key, or it let in a certificate of the new authority. Finished, the old key is gone.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from tunnels import keystore
from tunnels.acts import act
from tunnels.audit import OPERATOR, Actor, Event, record
from tunnels.errors import Conflict
from tunnels.keys import describe
from tunnels.keystore import Role
from tunnels.models import Host

COLUMN = {Role.AUTHORITY: "known_authority", Role.GATEWAY: "known_gateway_key"}
NAMES = {Role.AUTHORITY: "certificate authority", Role.GATEWAY: "gateway host key"}


def begin_rotation(*, role: Role, actor: Actor) -> str:
    """Make the next key; its fingerprint. Conflict where there is one already."""
    with act(Event.SETTING_CHANGED, actor=actor, setting=NAMES[role]):
        if keystore.next_key(role):
            raise Conflict(f"the next {NAMES[role]} is there already; finish that rotation first")
        old = describe(keystore.keys(role)[0]).fingerprint
        new = describe(keystore.make_next(role)).fingerprint
        record(Event.SETTING_CHANGED, actor=actor, setting=NAMES[role], step="begun", old=old, new=new)
    return new


def finish_rotation(*, role: Role, leave_behind: bool, actor: Actor) -> str:
    """Put the next key in force; its fingerprint. Conflict where hosts would be left behind, unless they may be."""
    with act(Event.SETTING_CHANGED, actor=actor, setting=NAMES[role]):
        if not (coming := keystore.next_key(role)):
            raise Conflict(f"there is no next {NAMES[role]}; begin the rotation first")
        left = sorted(behind(role).values_list("name", flat=True))
        if left and not leave_behind:
            raise Conflict(f"{len(left)} of the hosts do not know the new {NAMES[role]} yet: {', '.join(left[:20])}")
        old, new = (describe(key).fingerprint for key in (keystore.keys(role)[0], coming))
        facts: dict[str, Any] = {"setting": NAMES[role], "step": "finished", "left_behind": left[:20]}
        record(Event.SETTING_CHANGED, actor=actor, old=old, new=new, **facts)
        keystore.put_next_in_force(role)
    return new


def behind(role: Role) -> QuerySet[Host]:
    """Approved hosts that are not known to know the next key; none where no rotation is under way."""
    coming = keystore.next_key(role)
    if coming is None:
        return Host.objects.none()
    return Host.objects.approved().exclude(**{COLUMN[role]: describe(coming).fingerprint})


def note_learned(*, role: Role, host_id: UUID, fingerprint: str) -> None:
    """The host knows that key, which counts while it is the next one."""
    host = behind(role).filter(pk=host_id).first()
    coming = keystore.next_key(role)
    if host is None or coming is None or describe(coming).fingerprint != fingerprint:
        return
    with act(Event.SETTING_CHANGED, actor=OPERATOR, host=host.name, setting=NAMES[role]):
        Host.objects.filter(pk=host.pk).update(**{COLUMN[role]: fingerprint})
        record(Event.SETTING_CHANGED, host=host.name, setting=NAMES[role], step="learned", new=fingerprint)
