from __future__ import annotations

import socket
from typing import Any

import pytest

from tunnels.agent import portal as portal_module
from tunnels.agent.portal import Portal, Reply, Unreachable

from .stand_in import Portal as Running


async def test_json_both_ways_and_the_bearer(portal: Running) -> None:
    client = Portal(portal.url)
    reply = await client.post("/api/v1/enrollments", {"name": "wéb"})
    assert (reply.status, reply.body["id"]) == (201, "e1")
    assert portal.requests[0][2] == {"name": "wéb"}
    assert (await client.get("/api/v1/enrollments/e1", "poll-secret")).status == 200
    assert (await client.get("/api/v1/enrollments/e1", "wrong")).status == 401


@pytest.mark.parametrize(
    ("status", "headers", "passing", "retry_after"),
    [
        (429, {"Retry-After": "7"}, True, 7),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, True, None),
        (500, {}, True, None),
        (403, {}, False, None),
        (422, {}, False, None),
    ],
)
async def test_refusals_are_told_apart(
    portal: Running, status: int, headers: dict[str, str], passing: bool, retry_after: float | None
) -> None:
    portal.answer_with = (status, {"title": "No", "detail": "because\n\x1b[2J"}, headers)
    reply = await Portal(portal.url).get("/x", "t")
    assert (reply.status, reply.is_passing, reply.retry_after_s) == (status, passing, retry_after)
    assert reply.detail == "because  [2J"


async def test_redirects_are_not_followed(portal: Running) -> None:
    portal.answer_with = (302, {}, {"Location": "http://127.0.0.1:1/elsewhere"})
    with pytest.raises(Unreachable, match="points elsewhere"):
        await Portal(portal.url).post("/x", {"token": "secret"})
    assert len(portal.requests) == 1


async def test_too_long_an_answer(portal: Running) -> None:
    portal.answer_with = (200, {"x": "y" * portal_module.MAX_BODY}, {})
    with pytest.raises(Unreachable, match="too long"):
        await Portal(portal.url).get("/x", "t")


async def test_nobody_there_and_not_http() -> None:
    with pytest.raises(Unreachable, match="cannot reach the portal"):
        await Portal("http://127.0.0.1:1").get("/x", "t")
    with pytest.raises(Unreachable, match="cannot reach the portal"):
        await Portal("http://broker.invalid").get("/x", "t")


async def test_plain_http_answer_on_https(portal: Running) -> None:
    with pytest.raises(Unreachable):
        await Portal(portal.url.replace("http:", "https:")).get("/x", "t")


async def test_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_module, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable):
        await Portal(f"http://127.0.0.1:{silent.getsockname()[1]}").get("/x", "t")


@pytest.mark.parametrize("body", [{}, {"detail": None}, {"detail": ""}])
def test_refusal_without_a_reason(body: dict[str, Any]) -> None:
    assert Reply(418, body).detail == "HTTP status 418"
