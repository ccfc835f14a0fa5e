"""REST for people, mounted below `/api/v1` by `brokerd.api`: one router a noun."""

from __future__ import annotations

from ninja import Router

from terminals.api.audit import router as audit_router
from terminals.api.company import router as company_router
from terminals.api.grants import router as grants_router
from terminals.api.hosts import router as hosts_router
from terminals.api.preferences import router as preferences_router
from terminals.api.recordings import router as recordings_router
from terminals.api.sessions import router as sessions_router
from terminals.api.shares import of_sessions as shares_of_sessions
from terminals.api.shares import router as shares_router
from terminals.api.webhooks import router as webhooks_router

routers: list[tuple[str, Router]] = [
    ("/hosts", hosts_router),
    ("/grants", grants_router),
    ("/audit", audit_router),
    ("/sessions", sessions_router),
    ("/sessions", shares_of_sessions),
    ("/sessions", company_router),
    ("/sessions", recordings_router),
    ("/shares", shares_router),
    ("/preferences", preferences_router),
    ("/webhooks", webhooks_router),
]
