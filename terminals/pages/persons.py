"""The people of the portal, for admins: who there is, how they come in, and what ends at once."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from terminals.models import Person, SecondFactorRule, Session, WebLogin
from terminals.pages.frame import attempt, show
from terminals.pages.guards import PersonRequest, actor_of, admins
from terminals.people import disable_person, enable_person, end_everything, remove_factors
from terminals.second_factor import set_second_factor
from tunnels import clock

MAX_SHOWN = 1000


@admins
@require_safe
def persons(request: PersonRequest) -> HttpResponse:
    everybody = Person.objects.prefetch_related("groups").annotate(
        has_factor=Exists(Authenticator.objects.filter(user=OuterRef("pk"))),
        browsers=_count(WebLogin.objects.filter(expire_date__gt=clock.now())),
        live=_count(Session.objects.filter(ended_at=None)),
    )
    groups = Group.objects.annotate(
        members=Count("user"), asks=Exists(SecondFactorRule.objects.filter(group=OuterRef("pk")))
    )
    context = {
        "section": "people",
        "persons": everybody.order_by("-is_active", "username")[:MAX_SHOWN],
        "groups": groups.order_by("name"),
    }
    return show(request, "people/list.html", context)


@admins
@require_POST
def disable(request: PersonRequest, person_id: int) -> HttpResponse:
    person = _person(person_id)
    done = f"{person.username} is disabled: all that they have open ends, and nothing lets them in."
    return attempt(request, "people", lambda: disable_person(person=person, actor=actor_of(request)), done)


@admins
@require_POST
def enable(request: PersonRequest, person_id: int) -> HttpResponse:
    person = _person(person_id)
    return attempt(
        request,
        "people",
        lambda: enable_person(person=person, actor=actor_of(request)),
        f"{person.username} is enabled again.",
    )


@admins
@require_POST
def end(request: PersonRequest, person_id: int) -> HttpResponse:
    person, actor = _person(person_id), actor_of(request)
    done = f"All that {person.username} had open ends, and their browsers are logged out. They may come back."
    return attempt(
        request, "people", lambda: end_everything(person=person, reason=f"ended by {actor.person}", actor=actor), done
    )


@admins
@require_POST
def forget_factors(request: PersonRequest, person_id: int) -> HttpResponse:
    person = _person(person_id)
    done = f"{person.username} has no second factor any more, and is logged out."
    return attempt(request, "people", lambda: remove_factors(person=person, actor=actor_of(request)), done)


@admins
@require_POST
def group_factor(request: PersonRequest, group_id: int) -> HttpResponse:
    group, required = get_object_or_404(Group, pk=group_id), "required" in request.POST
    done = f"Of {group.name} a second factor is {'required' if required else 'not required any more'}."
    return attempt(
        request, "people", lambda: set_second_factor(group=group, required=required, actor=actor_of(request)), done
    )


def _person(person_id: int) -> Person:
    return get_object_or_404(Person, pk=person_id)


def _count(rows: object) -> Coalesce:
    """How many of `rows` are the person's."""
    counted = rows.filter(person=OuterRef("pk")).order_by().values("person").annotate(count=Count("pk"))  # type: ignore[attr-defined]
    return Coalesce(Subquery(counted.values("count")), 0)
