"""REST for people, mounted below `/api/v1` by `brokerd.api`: one router a noun."""

from __future__ import annotations

from ninja import Router

from terminals.api.audit import router as audit_router
from terminals.api.grants import router as grants_router
from terminals.api.hosts import router as hosts_router
from terminals.api.preferences import router as preferences_router
from terminals.api.sessions import router as sessions_router

routers: list[tuple[str, Router]] = [
    ("/hosts", hosts_router),
    ("/grants", grants_router),
    ("/audit", audit_router),
    ("/sessions", sessions_router),
    ("/preferences", preferences_router),
]
