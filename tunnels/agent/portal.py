"""JSON over HTTP(S) to the broker's portal, with every size and time bounded. Knows no enrollment.

TLS certificates are verified (SSL_CERT_FILE names another authority). Redirects are not followed: a token must not
travel to where somebody else points.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO, Any
from urllib.parse import urlsplit

from tunnels.agent import VERSION
from tunnels.agent.threads import in_daemon_thread

MAX_BODY = 256 * 1024
TIMEOUT_S = 20.0


class Unreachable(Exception):
    """No answer that makes sense: no network, no TLS, not the portal. Trying again later may help."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `body` is empty where it was not a JSON object."""

    status: int
    body: dict[str, Any]
    retry_after_s: float | None = None
    date: datetime | None = None
    """The portal's clock."""

    @property
    def is_passing(self) -> bool:
        """Too many requests, or the server's own trouble: the same request may succeed later."""
        return self.status in (408, 425, 429) or self.status >= 500

    @property
    def detail(self) -> str:
        """What a problem document (RFC 9457) says; for people, so control characters are replaced."""
        text = str(self.body.get("detail") or self.body.get("title") or f"HTTP status {self.status}")
        return "".join(letter if letter.isprintable() else " " for letter in text[:500])


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        raise Unreachable(f"the portal points elsewhere, to {newurl[:200]!r}; if that is right, use it as --broker")


class Portal:
    """The portal at `url`. One request at a time is enough for an agent."""

    def __init__(self, url: str) -> None:
        self.url = url
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if is_loopback(urlsplit(url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    async def post(self, path: str, body: dict[str, Any]) -> Reply:
        """Cancelling abandons the request; it may still have reached the portal."""
        return await self._ask(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    async def get(self, path: str, bearer: str) -> Reply:
        """Cancelling abandons the request."""
        return await self._ask(path, None, {"Authorization": f"Bearer {bearer}"})

    async def healthz(self) -> Reply:
        """Whether it lives, asked by nobody in particular. Cancelling abandons the request."""
        return await self._ask("/healthz", None, {})

    async def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        common = {"Accept": "application/json", "User-Agent": f"brokerd-agent/{VERSION}"}
        request = urllib.request.Request(self.url + path, data=body, headers={**common, **headers})  # noqa: S310
        try:
            async with asyncio.timeout(TIMEOUT_S * 2):
                return await in_daemon_thread(lambda: self._ask_now(request))
        except TimeoutError as error:
            raise Unreachable("the portal does not answer in time") from error

    def _ask_now(self, request: urllib.request.Request) -> Reply:
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                return _reply(response.status, response.headers, response)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.headers, error)
        except urllib.error.URLError as error:
            raise Unreachable(f"cannot reach the portal: {error.reason}") from error
        except (OSError, http.client.HTTPException, ssl.SSLError, ValueError) as error:
            raise Unreachable(f"cannot reach the portal: {error or type(error).__name__}") from error


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reply(status: int, headers: Message, stream: Any) -> Reply:
    return Reply(status, _json_object(_read(stream)), _seconds(headers.get("Retry-After")), _date(headers.get("Date")))


def _read(stream: Any) -> bytes:
    """The body, up to MAX_BODY, within TIMEOUT_S even where it comes byte by byte."""
    chunks, size, deadline = [], 0, time.monotonic() + TIMEOUT_S
    while chunk := stream.read1(65536):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            raise Unreachable("the portal's answer is too long")
        if time.monotonic() > deadline:
            raise Unreachable("the portal's answer takes too long")
    return b"".join(chunks)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds. Its other form, a date, is treated as absent: our own back-off does."""
    if header is None or not header.strip().isdigit() or len(header.strip()) > 6:
        return None
    return float(header.strip())


def _date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
