"""People, grants, tokens and sessions in the Django admin. What changes anything goes through an act."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from terminals.api_tokens import revoke_api_token
from terminals.forms import GrantForm, PersonForm
from terminals.grants import create_grant, revoke_grant
from terminals.groups import create_group, delete_group, rename_group
from terminals.keys import remove_key
from terminals.models import ApiToken, Grant, Person, PersonKey, Session
from terminals.people import create_person, disable_person, enable_person, set_password, set_roles
from tunnels.admin import ReadOnly, actor_of
from tunnels.audit import Actor


class ActAdmin(ReadOnly):
    """Adds and changes through acts, which audit for themselves: the row that the form made up is never saved."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def save_related(self, *args: Any) -> None:
        """The act has."""

    def log_addition(self, *args: Any) -> Any:
        """The audit has it."""

    def log_change(self, *args: Any) -> Any:
        """The audit has it."""

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return HttpResponseRedirect("../")

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self.response_post_save_change(request, obj)

    def each(self, request: HttpRequest, rows: QuerySet[Any], doing: Callable[..., str]) -> None:
        for row in rows:
            self.attempt(request, partial(doing, row, actor_of(request)))


@admin.register(Person)
class PersonAdmin(ActAdmin):
    form = PersonForm
    list_display = ("username", "is_active", "is_superuser", "last_login", "date_joined")
    list_filter = ("is_active", "is_superuser", "groups")
    search_fields = ("username",)
    ordering = ("username",)
    filter_horizontal = ("groups",)
    actions: Any = ["disable", "enable"]

    def get_readonly_fields(self, request: HttpRequest, obj: Person | None = None) -> Any:
        return ("username", "is_active", "last_login", "date_joined") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Person | None = None) -> Any:
        if obj is None:
            return ("username", "password", "is_superuser", "groups")
        # One's own password is changed at /account/password/, where the old one is asked for.
        password = () if obj.pk == request.user.pk else ("password",)
        return ("username", "is_active", *password, "is_superuser", "groups", "last_login", "date_joined")

    def save_model(self, request: HttpRequest, obj: Person, form: Any, change: bool) -> None:
        saving = self._change if change else self._add
        self.attempt(request, partial(saving, request, obj, form))

    def _add(self, request: HttpRequest, obj: Person, form: Any) -> str:
        new, actor = form.cleaned_data, actor_of(request)
        admin_too = new["is_superuser"]
        person = create_person(name=new["username"], password=new["password"], admin=admin_too, actor=actor)
        if new["groups"]:
            set_roles(person=person, admin=admin_too, groups=new["groups"], actor=actor)
        return f"{person} is made."

    def _change(self, request: HttpRequest, obj: Person, form: Any) -> str:
        # Fetched anew: the form has put what was typed into `obj`.
        person, new, actor = Person.objects.get(pk=obj.pk), form.cleaned_data, actor_of(request)
        if {"is_superuser", "groups"} & set(form.changed_data):
            set_roles(person=person, admin=new["is_superuser"], groups=new["groups"], actor=actor)
        if new.get("password"):
            set_password(person=person, password=new["password"], actor=actor)
        return f"{person} is saved."

    @admin.action(description="Disable the selected people", permissions=["decide"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Person]) -> None:
        self.each(request, queryset, _disable)

    @admin.action(description="Enable the selected people again", permissions=["decide"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Person]) -> None:
        self.each(request, queryset, _enable)


admin.site.unregister(Group)
admin.site.unregister(EmailAddress)  # people have none here, and its pages change rows without an act
admin.site.unregister(Authenticator)  # its pages change rows without an act


@admin.register(Group)
class GroupAdmin(ActAdmin):
    fields = ("name",)
    search_fields = ("name",)
    actions: Any = ["remove"]

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        name, actor = form.cleaned_data["name"], actor_of(request)
        if not change:
            self.attempt(request, lambda: f"Group {create_group(name=name, actor=actor)} is made.")
        elif form.changed_data:
            group = Group.objects.get(pk=obj.pk)
            self.attempt(request, lambda: f"Group {rename_group(group=group, name=name, actor=actor)} is renamed.")

    @admin.action(description="Delete the selected groups", permissions=["decide"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        self.each(request, queryset, _delete_group)


@admin.register(Grant)
class GrantAdmin(ActAdmin):
    """Grants are made and revoked, never edited."""

    form = GrantForm
    list_display = ("id", "to", "on", "logins", "capabilities", "valid_from", "valid_until", "created_by", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "person", "group", "all_hosts")
    list_select_related = ("person", "group", "host")
    search_fields = ("person__username", "group__name", "host__name", "tag_key", "tag_value")
    actions: Any = ["revoke"]
    made = ("to", "on", "logins", "capabilities", "valid_from", "valid_until", "networks", "limits")
    fields: ClassVar[Any] = (*made, "created_by", "created_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Grant | None = None) -> Any:
        return self.fields if obj else list(GrantForm.base_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Grant | None = None) -> Any:
        return self.fields if obj else ()

    def to(self, grant: Grant) -> str:
        return f"group {grant.group}" if grant.group else str(grant.person)

    def on(self, grant: Grant) -> str:
        if grant.tag_key:
            return f"{grant.tag_key}={grant.tag_value}"
        return str(grant.host) if grant.host else "all hosts"

    def limits(self, grant: Grant) -> str:
        return ", ".join(grant.limit_words) or "those of the broker"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return GrantForm if obj is None else super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Grant, form: Any, change: bool) -> None:
        def make() -> str:
            return f"Grant {create_grant(**form.cleaned_data, actor=actor_of(request)).pk} is made."

        self.attempt(request, make)

    @admin.action(description="Revoke the selected grants", permissions=["decide"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Grant]) -> None:
        self.each(request, queryset, _revoke_grant)


@admin.register(ApiToken)
class ApiTokenAdmin(ActAdmin):
    list_display = ("name", "person", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_filter = ("person",)
    search_fields = ("name", "person__username")
    fields = list_display
    actions: Any = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["decide"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        self.each(request, queryset, _revoke_token)


@admin.register(PersonKey)
class PersonKeyAdmin(ReadOnly):
    """People add their keys themselves, or `manage.py add_key` does."""

    list_display = ("fingerprint", "person", "kind", "comment", "created_at", "last_used_at", "last_used_address")
    list_filter = ("person",)
    list_select_related = ("person",)
    search_fields = ("fingerprint", "person__username", "comment")
    fields = (*list_display, "line")
    actions: Any = ["remove"]

    @admin.action(description="Remove the selected keys", permissions=["decide"])
    def remove(self, request: HttpRequest, queryset: QuerySet[PersonKey]) -> None:
        for key in queryset.select_related("person"):
            self.attempt(request, partial(_remove_key, key, actor_of(request)))


@admin.register(Session)
class SessionAdmin(ReadOnly):
    list_display = ("started_at", "person", "host", "login", "way", "address", "ended_at", "reason")
    list_filter = ("way", ("ended_at", admin.EmptyFieldListFilter), "person")
    search_fields = ("id", "person__username", "host__name", "login", "address")
    date_hierarchy = "started_at"


def _disable(person: Person, actor: Actor) -> str:
    disable_person(person=person, actor=actor)
    return f"{person} is disabled."


def _enable(person: Person, actor: Actor) -> str:
    enable_person(person=person, actor=actor)
    return f"{person} is enabled."


def _delete_group(group: Group, actor: Actor) -> str:
    name = group.name
    delete_group(group=group, actor=actor)
    return f"Group {name} is deleted."


def _revoke_grant(grant: Grant, actor: Actor) -> str:
    revoke_grant(grant=grant, actor=actor)
    return f"Grant {grant.pk} is revoked."


def _revoke_token(token: ApiToken, actor: Actor) -> str:
    revoke_api_token(token=token, actor=actor)
    return f"Token {token} is revoked."


def _remove_key(key: PersonKey, actor: Actor) -> str:
    remove_key(key=key, actor=actor)
    return f"Key {key} of {key.person} is removed."
