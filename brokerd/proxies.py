"""Who the client is: `X-Forwarded-For` and `-Proto` count from trusted proxies only; nobody else's reach the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
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
    peer = _parse(scope["client"][0]) if scope.get("client") else None
    if peer is None:
        return resolved
    resolved["client"] = [str(peer), scope["client"][1]]
    if not _is_trusted(peer):
        return resolved
    if client := _client(_given(scope, b"x-forwarded-for")):
        resolved["client"] = [client, 0]
    if _given(scope, b"x-forwarded-proto").rpartition(",")[2].strip() == "https":
        resolved["scheme"] = SECURE.get(scope.get("scheme", "http"), "https")
    return resolved


def _given(scope: dict[str, Any], header: bytes) -> str:
    """All lines of the header as one, the last proxy's word at its end."""
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == header)


def _client(forwarded_for: str) -> str | None:
    """The right-most address that is not a trusted proxy's: what stands left of it was written by the client."""
    for part in reversed([part.strip() for part in forwarded_for.split(",")]):
        address = _parse(part)
        if address is None or not _is_trusted(address):
            return str(address) if address else None
    return None


def is_trusted_proxy(host: str) -> bool:
    """Whether this address of a peer is one of the trusted proxies."""
    address = _parse(host)
    return address is not None and _is_trusted(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """An address; IPv4 in IPv6 clothes, as a socket for both shows it, is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in settings.BROKERD.trusted_proxies)
