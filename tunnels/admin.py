"""Machines in the Django admin. What changes anything goes through an act; nothing is edited or deleted as a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from tunnels.audit import Actor
from tunnels.enrollment import approve_enrollment, reject_enrollment
from tunnels.errors import Refused
from tunnels.forms import HostForm, TokenForm
from tunnels.hosts import change_login, change_tags, rename_host, revoke_host
from tunnels.models import AuditEvent, EnrollmentToken, Host, State, Tunnel
from tunnels.tokens import create_enrollment_token, revoke_enrollment_token


def actor_of(request: HttpRequest) -> Actor:
    return Actor(person=request.user.get_username(), address=request.META["REMOTE_ADDR"])


class ReadOnly(admin.ModelAdmin):
    """Seen by admins (superusers), whatever permissions other staff were given; changed by nobody."""

    actions: Any = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def attempt(self, request: HttpRequest, doing: Callable[[], str]) -> bool:
        """Do it and show what it says, or show why it was refused."""
        try:
            messages.success(request, doing())
        except Refused as refused:
            messages.error(request, f"{refused}.")
            return False
        return True


@admin.register(Host)
class HostAdmin(ReadOnly):
    form = HostForm
    list_display = ("name", "state", "fingerprint", "code", "address", "login", "tunnel_port", "requested_at")
    list_filter = ("state",)
    search_fields = ("name", "fingerprint", "address", "code")
    actions: Any = ["approve", "reject", "revoke"]
    shown = ("state", "public_key", "fingerprint", "host_keys", "tunnel_port", "code", "info", "address", "token")
    readonly_fields = (*shown, "requested_at", "decided_at", "decided_by")
    fields = ("name", "login", "tags", *readonly_fields)

    def has_change_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        held = obj is None or obj.state in (State.PENDING, State.APPROVED)
        return held and self.has_module_permission(request)

    def get_fields(self, request: HttpRequest, obj: Host | None = None) -> Any:
        return self.fields if self.has_change_permission(request, obj) else ("name", "login", *self.readonly_fields)

    @admin.action(description="Approve the selected machines", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Host]) -> HttpResponse | None:
        def approve_one(host: Host) -> str:
            # The fingerprint comes from the page that the admin looked at, not from the row.
            shown = request.POST.get(f"fingerprint-{host.pk}", "")
            approve_enrollment(host=host, fingerprint=shown, actor=actor_of(request))
            return f"{host.name} is approved."

        return self._decide(request, queryset, "approve", approve_one)

    @admin.action(description="Reject the selected machines", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Host]) -> HttpResponse | None:
        def reject_one(host: Host) -> str:
            return f"{reject_enrollment(host=host, actor=actor_of(request)).name} is rejected."

        return self._decide(request, queryset, "reject", reject_one)

    @admin.action(description="Revoke the selected machines", permissions=["decide"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Host]) -> HttpResponse | None:
        def revoke_one(host: Host) -> str:
            return f"{revoke_host(host=host, actor=actor_of(request)).name} is revoked."

        return self._decide(request, queryset, "revoke", revoke_one)

    def _decide(
        self, request: HttpRequest, hosts: QuerySet[Host], verb: str, decide_one: Callable[[Host], str]
    ) -> HttpResponse | None:
        """A page that shows what is about to be decided; posted back from there, the decision."""
        if "confirmed" in request.POST:
            for host in hosts:
                self.attempt(request, partial(decide_one, host))
            return None
        facts = {"hosts": hosts, "verb": verb, "opts": self.opts, "title": f"{verb.capitalize()} machines"}
        return TemplateResponse(
            request, "admin/tunnels/decide.html", {**self.admin_site.each_context(request), **facts}
        )

    def save_model(self, request: HttpRequest, obj: Host, form: Any, change: bool) -> None:
        """Each field that was changed goes through its own act."""
        acts: dict[str, Callable[..., Host]] = {"name": rename_host, "login": change_login, "tags": change_tags}
        for field in form.changed_data:
            # Fetched anew: the form has put what was typed into `obj`.
            doing = partial(acts[field], host=Host.objects.get(pk=obj.pk), actor=actor_of(request))
            self.attempt(request, partial(_change, doing, field, form.cleaned_data[field]))

    def response_change(self, request: HttpRequest, obj: Host) -> HttpResponse:
        """The acts have said what happened."""
        return self.response_post_save_change(request, obj)

    def log_change(self, *args: Any) -> Any:
        """The audit has it."""


def _change(doing: Callable[..., Host], field: str, value: Any) -> str:
    return f"The {field} of {doing(**{field: value})} is changed."


@admin.register(EnrollmentToken)
class EnrollmentTokenAdmin(ReadOnly):
    form = TokenForm
    list_display = ("name", "host_name", "used", "uses", "auto_approve", "expires_at", "revoked_at", "created_by")
    search_fields = ("name", "host_name", "created_by")
    actions: Any = ["revoke"]
    fields: ClassVar[Any] = ("name", "host_name", "uses", "used", "auto_approve", "tags", "expires_at", "revoked_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def get_fields(self, request: HttpRequest, obj: EnrollmentToken | None = None) -> Any:
        return self.fields if obj else ("name", "host_name", "uses", "expires", "auto_approve", "tags")

    def save_model(self, request: HttpRequest, obj: EnrollmentToken, form: Any, change: bool) -> None:
        new = form.cleaned_data
        token, secret = create_enrollment_token(
            name=new["name"],
            host_name=new["host_name"],
            uses=new["uses"],
            expires_in_s=int(new["expires"]),
            auto_approve=new["auto_approve"],
            tags=new["tags"],
            actor=actor_of(request),
        )
        obj.pk = token.pk
        messages.warning(request, f"Copy the token now, it is not shown again: {secret}")

    def response_add(self, request: HttpRequest, obj: EnrollmentToken, post_url_continue: Any = None) -> HttpResponse:
        return HttpResponseRedirect("../")

    def log_addition(self, *args: Any) -> Any:
        """The audit has it."""

    @admin.action(description="Revoke the selected tokens", permissions=["decide"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[EnrollmentToken]) -> None:
        for token in queryset:
            self.attempt(request, partial(self._revoke_one, request, token))

    def _revoke_one(self, request: HttpRequest, token: EnrollmentToken) -> str:
        return f"Token {revoke_enrollment_token(token=token, actor=actor_of(request))} is revoked."


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = ("sequence", "time", "event", "outcome", "person", "host", "login", "address")
    list_filter = ("outcome", "event")
    search_fields = ("event", "person", "host", "address", "session")
    date_hierarchy = "time"
    show_full_result_count = False


@admin.register(Tunnel)
class TunnelAdmin(ReadOnly):
    list_display = ("host", "node", "epoch", "address", "client", "opened_at", "lease_until", "closed_at", "reason")
    search_fields = ("host__name", "address")
