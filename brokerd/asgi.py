"""The ASGI application: pages and REST through Django, terminals through Channels' routing and authentication."""

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

django_application = get_asgi_application()

from brokerd.proxies import TrustedProxies  # noqa: E402 - apps must be loaded first
from terminals.consumer import terminal_consumer  # noqa: E402


async def refuse_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Any other websocket: refused before it is accepted, HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


application = TrustedProxies(
    ProtocolTypeRouter(
        {
            "http": django_application,
            "websocket": AuthMiddlewareStack(
                URLRouter(
                    [
                        path("ws/sessions/<uuid:session_id>", terminal_consumer),  # type: ignore[arg-type]
                        re_path("", refuse_socket),  # type: ignore[arg-type]
                    ]
                )
            ),
        }
    )
)
