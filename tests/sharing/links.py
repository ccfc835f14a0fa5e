"""What owner and visitors do with a link, over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.people.helpers import Api


def share(owner: Api, session: UUID, **body: Any) -> dict[str, Any]:
    """The share as it was answered, and the `secret` of its link."""
    answer = owner.post(f"/sessions/{session}/shares", body)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    return {**made, "secret": made["url"].partition("/join/#")[2]}


def ask(visitor: Api, secret: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = visitor.post("/shares/ask", {"secret": secret, **body})
    assert answer.status_code == status, answer.content
    return answer.json()


def hear(visitor: Api, asked: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = visitor.post(f"/shares/asks/{asked['ask']}", {"key": asked["key"]})
    assert answer.status_code == status, answer.content
    return answer.json()


def decide(owner: Api, session: UUID, asked: dict[str, Any], admit: bool = True, status: int = 204) -> None:
    answer = owner.post(f"/sessions/{session}/asks/{asked['ask']}", {"admit": admit})
    assert answer.status_code == status, answer.content


def admission(owner: Api, visitor: Api, session: UUID, secret: str, **body: Any) -> str:
    """Asked, let in, heard of it."""
    asked = ask(visitor, secret, **body)
    decide(owner, session, asked)
    heard = hear(visitor, asked)
    assert heard["state"] == "admitted"
    return heard["admission"]
