"""Every route that the portal has, read from Django's resolver and the API's operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.urls import get_resolver

from brokerd import health
from brokerd.api import api


def all_routes() -> set[tuple[str, str]]:
    """(method, route) of each API operation; ("*", route) of everything else, pages of the Django admin included."""
    operations = set(_operations())
    patterns = get_resolver().url_patterns
    others = {("*", route) for route in _walk(patterns) if not route.startswith("api/v1/")}
    extras = {("*", "api/v1/openapi.json"), ("*", "api/v1/docs"), ("*", "api/v1/")}
    extras |= {("*", path.lstrip("/")) for path in health.PATHS}
    return operations | others | extras


def _operations() -> Iterator[tuple[str, str]]:
    for path, methods in api.get_openapi_schema()["paths"].items():
        for method in methods:
            yield method.upper(), path.lstrip("/")


def _walk(patterns: Iterable[Any], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from _walk(pattern.url_patterns, route)
        else:
            yield route
