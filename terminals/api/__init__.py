"""REST for people, mounted below `/api/v1` by `brokerd.api`: one router a noun."""

from __future__ import annotations

from ninja import Router

from terminals.api.audit import router as audit
from terminals.api.grants import router as grants
from terminals.api.hosts import router as hosts
from terminals.api.sessions import router as sessions

routers: list[tuple[str, Router]] = [("/hosts", hosts), ("/grants", grants), ("/audit", audit), ("/sessions", sessions)]
