"""The REST API: mounts the routers of both apps; the shapes of its refusals are in `problems`."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.parser import Parser

import terminals.api
import tunnels.api
from brokerd import problems


class BoundedParser(Parser):
    """Django looks at Content-Length only; a chunked body has none."""

    def parse_body(self, request: HttpRequest) -> Any:
        if len(request.body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        return json.loads(request.body)


class Api(NinjaAPI):
    """Its document says of every operation what a refusal looks like."""

    def get_openapi_schema(self, **options: Any) -> Any:
        schema = super().get_openapi_schema(**options)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].setdefault("default", problems.DESCRIPTION)
        return schema


api = Api(
    title="brokerd",
    version="1",
    description="Browser terminals for machines behind NAT. Refusals are `application/problem+json` (RFC 9457).",
    openapi_url="/openapi.json",
    docs_url="/docs",
    urls_namespace="api",
    parser=BoundedParser(),
)
problems.install(api)
api.add_router("/enrollments", tunnels.api.router)
for prefix, router in terminals.api.routers:
    api.add_router(prefix, router)
