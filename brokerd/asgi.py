"""The ASGI application: pages and REST through Django, terminals through Channels' routing and authentication."""

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django_application = get_asgi_application()

from brokerd.proxies import TrustedProxies  # noqa: E402 - apps must be loaded first
from terminals.consumer import terminal_consumer  # noqa: E402

application = TrustedProxies(
    ProtocolTypeRouter(
        {
            "http": django_application,
            "websocket": AuthMiddlewareStack(
                URLRouter(
                    [
                        path("ws/sessions/<uuid:session_id>", terminal_consumer)  # type: ignore[arg-type]
                    ]
                )
            ),
        }
    )
)
