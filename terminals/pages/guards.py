"""Who may see a page. Every view of the portal carries exactly one of `people`, `admins` or `auditors`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django_htmx.middleware import HtmxDetails

from terminals.models import Person
from tunnels.audit import Actor

P = ParamSpec("P")


class PersonRequest(HttpRequest):
    """A request whose guard has seen to it that a person is logged in."""

    user: Person
    htmx: HtmxDetails


View = Callable[Concatenate[PersonRequest, P], HttpResponseBase]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def people(view: View[P]) -> Guarded[P]:
    """Anybody who is logged in."""
    return _guard(view, lambda person: None)


def admins(view: View[P]) -> Guarded[P]:
    return _guard(view, lambda person: None if person.is_superuser else "This page is for admins.")


def auditors(view: View[P]) -> Guarded[P]:
    return _guard(view, _refuse_auditor)


def actor_of(request: PersonRequest) -> Actor:
    return Actor(person=request.user.username, address=request.META["REMOTE_ADDR"])


def _refuse_auditor(person: Person) -> str | None:
    if person.is_auditor:
        return None
    if person.is_superuser:
        return (
            "The audit log is for members of the group “auditors”. Being admin does not make you one: "
            "add yourself to the group under Admin, People, which is on record as well."
        )
    return "The audit log is for members of the group “auditors”."


def _guard(view: View[P], refuse: Callable[[Person], str | None]) -> Guarded[P]:
    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _log_in_first(request)
        known = cast(PersonRequest, request)
        if reason := refuse(known.user):
            raise PermissionDenied(reason)
        return view(known, *args, **kwargs)

    return cast("Guarded[P]", never_cache(guarded))


def _log_in_first(request: HttpRequest) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        # A redirect would put the login page into the live region: reload the whole page, which then leads there.
        response = HttpResponse(status=401)
        response["HX-Refresh"] = "true"
        return response
    # Where a form goes answers no GET: whoever sent one too late starts from the hosts.
    back = request.get_full_path() if request.method in ("GET", "HEAD") else reverse("hosts")
    return redirect_to_login(back)
