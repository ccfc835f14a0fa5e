"""What every page has around it, and how an act's refusal reaches the person who asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from terminals.pages.guards import PersonRequest
from tunnels.errors import NotFound, Refused
from tunnels.models import Host


def show(
    request: PersonRequest, template: str, context: Mapping[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    return render(request, template, {**surroundings(request), **(context or {})}, status=status)


def surroundings(request: PersonRequest) -> dict[str, Any]:
    """For the navigation: how many machines wait for an admin."""
    return {"waiting": Host.objects.pending().count() if request.user.is_superuser else 0}


@contextmanager
def refusal_shown(request: PersonRequest, form: forms.Form | None = None) -> Iterator[None]:
    """Turn a refusal into an error of `form`, which keeps what was filled in, else into a message on the next page."""
    try:
        yield
    except NotFound as refused:
        raise Http404 from refused
    except Refused as refused:
        if form is None:
            messages.error(request, sentence(str(refused)))
        else:
            form.add_error(None, sentence(str(refused)))


def attempt(request: PersonRequest, page: str, change: Callable[[], object], done: str) -> HttpResponse:
    """Back to `page`, which says that it is `done`, or why it is not."""
    with refusal_shown(request):
        change()
        messages.success(request, done)
    return redirect(page)


def sentence(message: str) -> str:
    """Acts word their refusals for logs and terminals; a page shows whole sentences."""
    first, _, rest = message.partition(" ")
    # A first word with digits or punctuation is the name of something, which keeps its spelling.
    capital = first.capitalize() if first.isalpha() and first.islower() else first
    return f"{capital} {rest}".strip().removesuffix(".") + "."
