"""Pages that change by themselves: a region is polled, and answers 204 while nothing in it has changed.

A region consists of lists, a list of items with a key and a mark, which is a hash of what the item shows. The browser
(static/portal/live.js) exchanges only the items whose mark has changed, so that focus, selection and half-filled forms
stay as they are. Times are rendered as absolute ones: what only ages is not a change.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.template.loader import get_template

from terminals.pages.frame import show, surroundings
from terminals.pages.guards import PersonRequest

_CSRF_INPUT = re.compile(r'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>')
"""Masked anew at each rendering."""


@dataclass(frozen=True, slots=True)
class Item:
    key: str
    html: str
    mark: str


def items(request: PersonRequest, template: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Item]:
    """Each of `rows`, a key and its context, as `template` shows it."""
    loaded = get_template(template)
    return [_item(key, loaded.render(dict(context), request)) for key, context in rows]


def answer(
    request: PersonRequest, page: str, region: str, lists: Mapping[str, list[Item]], context: Mapping[str, Any]
) -> HttpResponse:
    """The whole `page`, or, when htmx asks, its `region` alone: 204 where the browser has seen it as it is."""
    around = surroundings(request)
    seen = _digest(repr([(name, [(item.key, item.mark) for item in held]) for name, held in lists.items()] + [around]))
    if request.htmx and request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    template = "live/answer.html" if request.htmx else page
    return show(request, template, {**context, **lists, "region": region, "seen": seen})


def _item(key: str, html: str) -> Item:
    return Item(key, html, _digest(_CSRF_INPUT.sub("", html)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
