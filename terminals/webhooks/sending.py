"""One attempt to tell a receiver: a POST over a connection of its own, bounded in time and in what is read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from uuid import UUID

import httpx

from terminals.webhooks.signing import sign
from terminals.webhooks.targets import wrong_address
from tunnels.agent.threads import in_daemon_thread
from tunnels.text import printable

TIMEOUT_S = 10.0
"""For all of it, the lookup of the name included."""
COMPLAINT_S = 1.0
MAX_COMPLAINT = 100
"""Characters of a refusal that are kept."""
MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Order:
    """A delivery that is due."""

    delivery: int
    webhook: UUID
    url: str
    allows_private: bool
    secret: str
    event: str
    body: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: an HTTP status, where there was an answer, and what was wrong with it."""

    status: int | None
    problem: str = ""


class Sender:
    """`async with` it. Follows no redirects, uses no proxy, and reads no answer further than to tell a complaint."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Sender:
        # No connection is kept: they are told apart by address, and a certificate was checked for one name only.
        limits = httpx.Limits(max_keepalive_connections=0)
        trust = httpx.create_ssl_context(trust_env=False)
        trust.load_default_certs()  # those of this machine as well: receivers may have certificates of its own CA
        self._client = httpx.AsyncClient(verify=trust, trust_env=False, timeout=None, limits=limits)  # noqa: S113
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.aclose()

    async def send(self, order: Order) -> Outcome:
        """Never raises for what a receiver does. Cancelled, it may have been told or not."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(order)
        except TimeoutError:
            return Outcome(None, f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Outcome(None, printable(str(error) or type(error).__name__, 200))

    async def _send(self, order: Order) -> Outcome:
        url = httpx.URL(order.url)
        addresses, reason = await self._resolve(url, allows_private=order.allows_private)
        if not addresses:
            return Outcome(None, reason)
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError):
                return await self._post(order, url, address)
        return await self._post(order, url, addresses[-1])

    async def _resolve(self, url: httpx.URL, *, allows_private: bool) -> tuple[list[str], str]:
        """The addresses of the URL's host that we may go to, and why not to the others."""
        host, is_tls = url.raw_host.decode("ascii"), url.scheme == "https"
        # Those that hang keep neither other lookups waiting nor the broker from ending.
        found = await in_daemon_thread(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        good, reason = [], f"{host} has no address"
        for address in dict.fromkeys(str(item[4][0]) for item in found):
            if wrong := wrong_address(ip_address(address), is_tls=is_tls, allows_private=allows_private):
                reason = wrong
            else:
                good.append(address)
        return good[:MAX_ADDRESSES], reason

    async def _post(self, order: Order, url: httpx.URL, address: str) -> Outcome:
        """To the very address that was judged; the name is in the `Host` header, and what the certificate is for."""
        content = order.body.encode()
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "brokerd",
            "Brokerd-Event": order.event,
            "Brokerd-Delivery": str(order.delivery),
            "Brokerd-Attempt": str(order.attempt),
            "Brokerd-Signature": sign(order.secret, content, int(time.time())),
        }
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        async with self._client.stream(
            "POST", url.copy_with(host=address), content=content, headers=headers, extensions=extensions
        ) as response:
            if response.is_success:
                return Outcome(response.status_code)
            if response.is_redirect:
                return Outcome(response.status_code, f"answers {response.status_code}: redirects are not followed")
            return Outcome(response.status_code, f"answers {response.status_code}{await _complaint(response)}")


async def _complaint(response: httpx.Response) -> str:
    """The beginning of a refusal, which often says what is wrong."""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(COMPLAINT_S):
            async for chunk in response.aiter_raw(4 * MAX_COMPLAINT):
                text = " ".join(chunk.decode("utf-8", "replace").split())
                return f": {printable(text, MAX_COMPLAINT)}" if text else ""
    return ""
