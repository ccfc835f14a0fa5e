from __future__ import annotations

from typing import Any

import asyncssh
import pytest

from tunnels.agent.enrollment import BadAnswer, parse_answer, pin, request_body

from .stand_in import line_of

ONE, TWO, THREE = (line_of(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(3))


def document(**changes: Any) -> dict[str, Any]:
    gateway = {"host": "broker", "port": 2222, "host_keys": [f"{ONE} comment"]}
    facts = {"id": 7, "name": "web1", "state": "pending", "tunnel_port": 22100, "fingerprint": "SHA256:x", "code": "AB"}
    return {**facts, "ca_public_key": TWO, "gateway": gateway, **changes}


def test_answer_is_parsed_and_keys_lose_their_comments() -> None:
    answer = parse_answer(document())
    assert (answer.id, answer.tunnel_port, answer.gateway.host_keys) == ("7", 22100, (ONE,))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "maybe"},
        {"tunnel_port": 0},
        {"tunnel_port": "22100"},
        {"name": None},
        {"code": "AB\x1b[2J"},
        {"ca_public_key": "ssh-ed25519 AAAA"},
        {"gateway": {"host": "broker", "port": 2222, "host_keys": []}},
        {"gateway": {"host": "broker", "port": 2222}},
        {"gateway": None},
    ],
)
def test_answer_that_makes_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer, match="does not make sense"):
        parse_answer(document(**changes))


def test_first_answer_pins_and_later_ones_do_not_replace() -> None:
    first, warning = pin(None, parse_answer(document()), url="https://b", now="monday")
    assert warning is None
    assert (first.ca_public_key, first.gateway.host_keys, first.pinned) == (TWO, (ONE,), "monday")

    moved = {"host": "elsewhere", "port": 22, "host_keys": [ONE]}
    second, warning = pin(first, parse_answer(document(name="web2", gateway=moved)), url="https://b", now="tuesday")
    assert warning is None
    assert (second.name, second.gateway.host, second.pinned) == ("web2", "elsewhere", "monday")

    for changes in ({"ca_public_key": THREE}, {"gateway": {**moved, "host_keys": [THREE]}}):
        third, warning = pin(first, parse_answer(document(**changes)), url="https://b", now="tuesday")
        assert warning and "other keys than those pinned on monday" in warning
        assert (third.ca_public_key, third.gateway.host_keys) == (TWO, (ONE,))


def test_request_names_the_token_only_where_there_is_one() -> None:
    facts: dict[str, Any] = {"name": "web1", "public_key": ONE, "host_keys": [TWO], "login": "pi"}
    assert "token" not in request_body(**facts, token=None)
    body = request_body(**facts, token="secret")
    assert body["token"] == "secret"
    assert set(body["info"]) == {"hostname", "os", "arch", "version"}
