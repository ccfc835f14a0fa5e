"""Refusals over REST: every error under /api/ is an RFC 9457 problem; exceptions are mapped to statuses here only."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template import loader
from django.utils.deprecation import MiddlewareMixin
from django.views.defaults import server_error as plain_server_error
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from terminals.second_factor import SecondFactorRequired
from tunnels import database
from tunnels.errors import Conflict, DatabaseAway, Invalid, NotAllowed, NotFound, Refused, TooMany, Unavailable

CONTENT_TYPE = "application/problem+json"
STATUSES: dict[type[Refused], int] = {
    Invalid: 422,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    TooMany: 429,
    Unavailable: 503,
}

log = structlog.get_logger(__name__)


SECOND_FACTOR = "/problems/second-factor-required"
"""The one `type` by which a page does something by itself: it leads its person through the confirmation and back."""

DESCRIPTION: dict[str, Any] = {
    "description": "Refused, or failed: `status` says which kind, `detail` what happened and what to do (RFC 9457).",
    "content": {
        CONTENT_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "instance"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer", "minimum": 400, "maximum": 599},
                    "detail": {"type": "string"},
                    "instance": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["field", "message"],
                            "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                        },
                    },
                },
            }
        }
    },
}
"""Any problem, for the OpenAPI document."""


def problem(request: HttpRequest, status: int, detail: str = "", **more: Any) -> HttpResponse:
    """The answer. `type` is `about:blank` but for `SECOND_FACTOR`: the status says which kind, `detail` what happened
    and what to do."""
    facts = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return JsonResponse(
        {**facts, "detail": detail, "instance": request.path, **more}, status=status, content_type=CONTENT_TYPE
    )


def install(api: NinjaAPI) -> None:
    """Make `api` answer every exception as a problem."""
    handlers: dict[type[Exception], Any] = {
        Refused: _refused,
        ValidationError: _invalid,
        RequestDataTooBig: _too_large,
        AuthenticationError: _unauthenticated,
        HttpError: _http_error,
        Http404: _missing,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def _refused(request: HttpRequest, refused: Refused) -> HttpResponse:
    status = next(status for kind, status in STATUSES.items() if isinstance(refused, kind))
    more = {"type": SECOND_FACTOR} if isinstance(refused, SecondFactorRequired) else {}
    response = problem(request, status, str(refused), **more)
    if isinstance(refused, TooMany | Unavailable):
        response["Retry-After"] = str(refused.retry_after_s)
    return response


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Says where and what, and never what was sent: that may have been a secret."""
    errors = [{"field": ".".join(map(str, item["loc"][1:])), "message": item["msg"]} for item in error.errors]
    if all(item["loc"][0] == "path" for item in error.errors):
        return _missing(request, error)
    sentence = "; ".join(f"{item['field'].rpartition('.')[2] or 'body'}: {item['message']}" for item in errors[:5])
    return problem(request, 422, sentence, errors=errors[:20])


def _missing(request: HttpRequest, _: Exception) -> HttpResponse:
    return problem(request, 404, _DETAILS[404])


def _too_large(request: HttpRequest, _: Exception) -> HttpResponse:
    return problem(request, 413, "the body is too large")


def _unauthenticated(request: HttpRequest, _: AuthenticationError) -> HttpResponse:
    response = problem(request, 401, "log in, or send Authorization: Bearer with a valid token")
    response["WWW-Authenticate"] = 'Bearer realm="brokerd"'
    return response


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Ninja wraps whatever its parser raises into a 400.
    if isinstance(error.__cause__, RequestDataTooBig):
        return _too_large(request, error.__cause__)
    return problem(request, error.status_code, error.message)


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    if database.is_away(error):
        log.warning("refused: the database is away", path=request.path, method=request.method, problem=str(error))
        return _refused(request, DatabaseAway())
    log.error("request failed", path=request.path, method=request.method, exc_info=error)
    return problem(request, 500, "something went wrong here; the log of the broker says what")


class DatabaseMiddleware(MiddlewareMixin):
    """While the database is known to be away nothing is asked that would wait for it."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        return _away(request) if database.problem() else None


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`."""
    error = sys.exc_info()[1]
    return _away(request) if error is not None and database.is_away(error) else plain_server_error(request)


def _away(request: HttpRequest) -> HttpResponse:
    away = DatabaseAway()
    if request.path.startswith("/api/"):
        return _refused(request, away)
    response = HttpResponse(loader.get_template("503.html").render(), status=503)
    response["Retry-After"] = str(away.retry_after_s)
    return response


class ProblemMiddleware(MiddlewareMixin):
    """The errors under /api/ that no API operation answered: unknown path, wrong method, CSRF, a bad Host header."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_json = "json" in response.get("Content-Type", "")
        if response.status_code < 400 or is_json or not request.path.startswith("/api/"):
            return response
        answer = problem(request, response.status_code, _DETAILS.get(response.status_code, ""))
        if "Allow" in response:
            answer["Allow"] = response["Allow"]
        return answer


_DETAILS = {
    403: "refused: the CSRF token is missing or wrong; log in again",
    404: "there is nothing here",
    405: "this method is not offered here",
}
