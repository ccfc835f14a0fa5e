"""`/healthz`: the process lives. `/readyz`: it can do its work. `/metrics`: figures for Prometheus, for the few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from terminals.api_tokens import authenticate

registry = CollectorRegistry()
ProcessCollector(registry=registry)
_gateway_ready: Callable[[], bool] = lambda: False  # noqa: E731


class NodeFigures(Collector):
    """Gauges read from the node at each scrape: name, meaning, value."""

    def __init__(self, figures: Iterable[tuple[str, str, Callable[[], float]]]) -> None:
        self._figures = tuple(figures)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, meaning, read in self._figures:
            yield GaugeMetricFamily(f"brokerd_{name}", meaning, value=read())


def watch(figures: Iterable[tuple[str, str, Callable[[], float]]], *, gateway_ready: Callable[[], bool]) -> None:
    """Called by the node once it is up."""
    global _gateway_ready
    _gateway_ready = gateway_ready
    registry.register(NodeFigures(figures))


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, layer and gateway all answer, else 503; the body says which does not."""
    parts = {"database": _database_answers(), "layer": _layer_answers(), "gateway": _gateway_ready()}
    return JsonResponse(parts, status=200 if all(parts.values()) else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except DatabaseError:
        return False


def _layer_answers() -> bool:
    layer = get_channel_layer()
    return layer is not None and bool(async_to_sync(layer.new_channel)())


def metrics(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        return HttpResponse("not from here\n", status=403, content_type="text/plain")
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    address = ip_address(request.META["REMOTE_ADDR"])
    if any(address in network for network in settings.BROKERD.metrics_allow):
        return True
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    token = authenticate(secret, timezone.now(), address=str(address)) if scheme == "Bearer" else None
    return token is not None and token.person.is_superuser and not token.scopes
