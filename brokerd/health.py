"""`/healthz`: the process lives. `/readyz`: it can do its work. `/metrics`: figures for Prometheus, for the few."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from terminals.api_tokens import authenticate
from terminals.recording import store
from terminals.recording.policy import Policy
from tunnels import clock, database
from tunnels.errors import DatabaseAway
from tunnels.metrics import registry

_gateway_ready: Callable[[], bool] = lambda: False  # noqa: E731
_is_draining = False


def watch(figures: Collector, *, gateway_ready: Callable[[], bool]) -> None:
    """Called by the node once it is up."""
    global _gateway_ready, _is_draining
    _gateway_ready, _is_draining = gateway_ready, False
    registry.register(figures)


def drain() -> None:
    """Called by the node once it stops: nobody should send anything new here."""
    global _is_draining
    _is_draining = True


class HealthMiddleware:
    """Answers these paths before anything else: whoever probes the process dials it by whatever name it has there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return PATHS.get(request.path, self._get_response)(request)


def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the broker would take somebody new, else 503; the body says what is in the way."""
    parts = {
        "database": _database_answers(),
        "recordings": settings.BROKERD.recording is not Policy.REQUIRED or not store.problem(),
        "layer": _layer_answers(),
        "gateway": _gateway_ready(),
        "serving": not _is_draining,
    }
    return JsonResponse(parts, status=200 if all(parts.values()) else 503)


def _database_answers() -> bool:
    """Reads, and as far as the node knows, which tries once a second, writes: a probe takes no lock of its own."""
    try:
        with database.needed(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except DatabaseAway:
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
    token = authenticate(secret, clock.now(), address=str(address)) if scheme == "Bearer" else None
    return token is not None and token.person.is_superuser and not token.scopes


PATHS: dict[str, Callable[[HttpRequest], HttpResponse]] = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
