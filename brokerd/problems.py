"""Refusals over REST: every error under /api/ is an RFC 9457 problem; exceptions are mapped to statuses here only."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from tunnels.errors import Conflict, Invalid, NotAllowed, NotFound, Refused, TooMany

CONTENT_TYPE = "application/problem+json"
STATUSES: dict[type[Refused], int] = {Invalid: 422, NotAllowed: 403, NotFound: 404, Conflict: 409, TooMany: 429}

log = structlog.get_logger(__name__)


def problem(request: HttpRequest, status: int, detail: str = "", **more: Any) -> HttpResponse:
    """The answer. `type` is always `about:blank`: the status says which kind, `detail` what happened and what to do."""
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
    response = problem(request, status, str(refused))
    if isinstance(refused, TooMany):
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
    log.error("request failed", path=request.path, method=request.method, exc_info=error)
    return problem(request, 500, "something went wrong here; the log of the broker says what")


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
