"""Lists over REST, a page at a time: `{items, next}` with `?limit=` and `?cursor=`.

The cursor is the sort key of the last row shown (keyset pagination): rows that come and go in between neither repeat
nor hide others.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from ninja import Field, Schema

from terminals.moments import check_moment
from tunnels.errors import Invalid

MAX_LIMIT = 1000
Row = TypeVar("Row", bound=Model)


class Paging(Schema):
    limit: int = Field(100, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=400)


def page(
    rows: QuerySet[Row], paging: Paging, *, by: Sequence[str], show: Callable[[Sequence[Row]], list[Any]]
) -> dict[str, Any]:
    """One page of `rows` in the order of the fields `by` (`-` for descending), which together are unique.

    `show` turns the rows of the page into items, all at once, so that it can look up what they share.
    """
    if paging.cursor:
        rows = rows.filter(_after(rows.model, by, _decode(paging.cursor, len(by))))
    found = list(rows.order_by(*by)[: paging.limit + 1])
    shown = found[: paging.limit]
    more = len(found) > paging.limit
    return {"items": show(shown), "next": _encode(shown[-1], by) if more else None}


def _after(model: type[Model], by: Sequence[str], last: Sequence[str]) -> Q:
    """`(a, b) > (x, y)` in the order of `by`, as databases without row values take it."""
    after, same = Q(), Q()
    for field, text in zip(by, last, strict=True):
        name, step = field.removeprefix("-"), "lt" if field.startswith("-") else "gt"
        value = _value(model, name, text)
        after |= same & Q(**{f"{name}__{step}": value})
        same &= Q(**{name: value})
    return after


def _value(model: type[Model], name: str, text: str) -> Any:
    try:
        value = model._meta.get_field(name).to_python(text)  # type: ignore[union-attr]
        if isinstance(value, datetime):
            check_moment(value)
    except (ValidationError, Invalid) as error:
        raise _bad_cursor() from error
    return value


def _encode(row: Model, by: Sequence[str]) -> str:
    key = [str(getattr(row, field.removeprefix("-"))) for field in by]
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _decode(cursor: str, length: int) -> list[str]:
    try:
        key = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise _bad_cursor() from error
    if not isinstance(key, list) or len(key) != length or not all(isinstance(text, str) for text in key):
        raise _bad_cursor()
    return key


def _bad_cursor() -> Invalid:
    return Invalid("cursor: send back the `next` of an earlier page of this list, or leave it out")
