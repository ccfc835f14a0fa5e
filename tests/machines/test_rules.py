"""`tunnels.rules` as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tunnels.rules import (
    AgentFacts,
    TokenFacts,
    is_host_name,
    is_login,
    is_tag,
    refuse_agent,
    refuse_listen,
    refuse_token,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["a", "7", "web1", "a-b", "0a", "a" * 63, "xn--bcher-kva"])
def test_host_names(name):
    assert is_host_name(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a.b", "a_b", "a b", "a\n", "\na", "ä", "١", "a" * 64, "localhost", "a\x00", "../a"]
)
def test_no_host_names(name):
    assert not is_host_name(name)


@pytest.mark.parametrize("login", ["root", "pi", "_apt", "a.b-c_d", "Administrator", "svc$", "a" * 32])
def test_logins(login):
    assert is_login(login)


@pytest.mark.parametrize("login", ["", "-oProxyCommand=x", "a b", "a@b", "a/b", "1a", "a\n", "a" * 33, "ro\x1bot", "$"])
def test_no_logins(login):
    assert not is_login(login)


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("site", "berlin", True),
        ("a.b-c_d", "Straße 1", True),
        ("site", "", False),
        ("", "x", False),
        ("Site", "x", False),
        ("-a", "x", False),
        ("a" * 65, "x", False),
        ("site", "x" * 129, False),
        ("site", "a\nb", False),
        ("site", "a\u202eb", False),
    ],
)
def test_tags(key, value, good):
    assert is_tag(key, value) is good


def token(**facts):
    good = {"host_name": "", "uses_left": 1, "expires_at": NOW + timedelta(seconds=1), "revoked": False}
    return TokenFacts(**{**good, **facts})


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (token(), None),
        (token(host_name="web1"), None),
        (None, "unknown"),
        (token(host_name="web2"), "web2"),
        (token(uses_left=0), "used up"),
        (token(revoked=True), "revoked"),
        (token(expires_at=NOW), "expired"),
    ],
)
def test_tokens(facts, why):
    refusal = refuse_token(facts, name="web1", now=NOW)
    assert refusal is None if why is None else why in refusal


@pytest.mark.parametrize(
    ("state", "why"),
    [("approved", None), ("pending", "waiting"), ("rejected", "rejected"), ("revoked", "revoked")],
)
def test_agents(state, why):
    refusal = refuse_agent(AgentFacts("web1", state, 22100))
    assert refusal is None if why is None else why in refusal


@pytest.mark.parametrize(
    ("host", "port", "held", "why"),
    [
        ("localhost", 22100, False, None),
        ("localhost", 0, False, None),
        ("", 22100, False, None),
        ("127.0.0.1", 22100, False, None),
        ("::1", 22100, False, None),
        ("*", 22100, False, None),
        ("localhost", 22101, False, "22101"),
        ("localhost", 22, False, "22"),
        ("localhost", -1, False, "-1"),
        ("0.0.0.0", 22100, False, "bind address"),
        ("192.0.2.1", 22100, False, "bind address"),
        ("/run/x.sock", 22100, False, "bind address"),
        ("localhost", 22100, True, "one remote forward"),
    ],
)
def test_remote_forwards(host, port, held, why):
    refusal = refuse_listen(AgentFacts("web1", "approved", 22100), host=host, port=port, held=held)
    assert refusal is None if why is None else why in refusal
