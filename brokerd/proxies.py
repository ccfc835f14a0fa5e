"""Who the client is: `X-Forwarded-For` and `-Proto` count from trusted proxies only; nobody else's reach the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from django.conf import settings

FORWARDED = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"forwarded"}
)
SECURE = {"http": "https", "ws": "wss"}
Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class TrustedProxies:
    """ASGI middleware, outermost, for HTTP and websockets alike."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = resolve(scope)
        await self._inner(scope, receive, send)


def resolve(scope: dict[str, Any]) -> dict[str, Any]:
    """The scope with the client's own address and scheme. Forwarding headers are taken out in any case."""
    headers = [(name, value) for name, value in scope["headers"] if name not in FORWARDED]
    resolved = {**scope, "headers": headers}
    peer = scope["client"][0] if scope.get("client") else ""
    if not _is_trusted(peer):
        return resolved
    given = {name: value.decode("latin-1") for name, value in scope["headers"] if name in FORWARDED}
    if client := _client(given.get(b"x-forwarded-for", "")):
        resolved["client"] = [client, 0]
    if given.get(b"x-forwarded-proto", "").strip() == "https":
        resolved["scheme"] = SECURE.get(scope.get("scheme", "http"), "https")
    return resolved


def _client(forwarded_for: str) -> str | None:
    """The right-most address that is not a trusted proxy's: what stands left of it was written by the client."""
    for part in reversed([part.strip() for part in forwarded_for.split(",")]):
        try:
            address = str(ip_address(part))
        except ValueError:
            return None
        if not _is_trusted(address):
            return address
    return None


def _is_trusted(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in settings.BROKERD.trusted_proxies)
