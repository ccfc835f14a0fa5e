"""Groups of people. `auditors` is special by its name, so that name neither goes nor comes by renaming."""

from __future__ import annotations

from django.contrib.auth.models import Group

from terminals.models import AUDITORS, SecondFactorRule
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, Invalid
from tunnels.text import is_printable


def create_group(*, name: str, actor: Actor) -> Group:
    with act(Event.SETTING_CHANGED, actor=actor, setting=f"group {name}"):
        _check_name(name)
        record(Event.SETTING_CHANGED, actor=actor, setting=f"group {name}", created=True)
        return Group.objects.create(name=name)


def rename_group(*, group: Group, name: str, actor: Actor) -> Group:
    """Grants and members follow the row."""
    with act(Event.SETTING_CHANGED, actor=actor, setting=f"group {group.name}"):
        _check_name(name)
        group = Group.objects.select_for_update().get(pk=group.pk)
        if AUDITORS in (group.name, name):
            raise Conflict(f"the name {AUDITORS} gives its members the audit log; add members instead")
        record(Event.SETTING_CHANGED, actor=actor, setting=f"group {group.name}", name=name)
        group.name = name
        group.save(update_fields=["name"])
        return group


def delete_group(*, group: Group, actor: Actor) -> None:
    """Conflict where it was ever granted anything: its grants are part of the history."""
    with act(Event.SETTING_CHANGED, actor=actor, setting=f"group {group.name}"):
        if group.grants.exists():
            raise Conflict(f"group {group.name} has grants, now or in the past; take its members out instead")
        if SecondFactorRule.objects.filter(group=group).exists():
            raise Conflict(f"a second factor is required of group {group.name}; take that back first")
        record(Event.SETTING_CHANGED, actor=actor, setting=f"group {group.name}", deleted=True)
        group.delete()


def _check_name(name: str) -> None:
    if not 0 < len(name) <= 64 or not is_printable(name) or name != name.strip():
        raise Invalid("a group needs a name of 1 to 64 printable characters")
    if Group.objects.filter(name=name).exists():
        raise Conflict(f"there is a group {name} already; take another name")
