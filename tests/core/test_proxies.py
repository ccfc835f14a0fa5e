"""`brokerd.proxies`: who the client is, when only some may say so on behalf of others."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerd.proxies import FORWARDED, TrustedProxies, resolve

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.fixture(autouse=True)
def proxies(settings):
    settings.BROKERD = replace(settings.BROKERD, trusted_proxies=PROXIES)


def scope(peer: str | None, *headers: tuple[str, str], kind: str = "http") -> dict:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scheme = {"http": "http", "websocket": "ws"}[kind]
    return {"type": kind, "scheme": scheme, "headers": raw, "client": [peer, 4711] if peer is not None else None}


FOR = "X-Forwarded-For"

#       peer, X-Forwarded-For lines, the client
CLIENTS = [
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),  # spoofed by somebody who is no proxy
    ("192.0.2.1", ["10.0.0.1"], "192.0.2.1"),
    ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["1.1.1.1, 198.51.100.9"], "198.51.100.9"),  # what stands left was written by the client
    ("10.0.0.1", ["1.1.1.1", "198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", ["198.51.100.9, 10.0.0.2, 10.0.0.3"], "198.51.100.9"),
    ("10.0.0.1", ["198.51.100.9", "10.0.0.2"], "198.51.100.9"),
    ("10.0.0.1", ["10.0.0.2"], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.9, nonsense"], "10.0.0.1"),
    ("10.0.0.1", ["nonsense, 198.51.100.9"], "198.51.100.9"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ["2001:db8::1, 2001:500::9"], "2001:500::9"),
    ("2001:db8::5", ["198.51.100.9"], "198.51.100.9"),
    ("::ffff:10.0.0.1", ["198.51.100.9"], "198.51.100.9"),  # a socket for both shows IPv4 like this
    ("::ffff:192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
    ("10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9"),
]


@pytest.mark.parametrize(("peer", "lines", "client"), CLIENTS)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_client(peer, lines, client, kind):
    assert resolve(scope(peer, *((FOR, line) for line in lines), kind=kind))["client"][0] == client


@pytest.mark.parametrize(
    ("peer", "proto", "http", "websocket"),
    [
        ("10.0.0.1", "https", "https", "wss"),
        ("10.0.0.1", "http", "http", "ws"),
        ("10.0.0.1", "https, http", "http", "ws"),
        ("10.0.0.1", "HTTPS", "http", "ws"),
        ("192.0.2.1", "https", "http", "ws"),
    ],
)
def test_the_scheme(peer, proto, http, websocket):
    header = ("X-Forwarded-Proto", proto)
    assert resolve(scope(peer, header))["scheme"] == http
    assert resolve(scope(peer, header, kind="websocket"))["scheme"] == websocket


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.0.2.1", None])
def test_nobodys_forwarding_headers_reach_the_application(peer):
    headers = [(name.decode(), "x") for name in FORWARDED]
    assert resolve(scope(peer, *headers, ("Host", "b")))["headers"] == [(b"host", b"b")]


def test_without_trusted_proxies_nobody_speaks_for_others(settings):
    settings.BROKERD = replace(settings.BROKERD, trusted_proxies=())
    assert resolve(scope("127.0.0.1", (FOR, "198.51.100.9")))["client"][0] == "127.0.0.1"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=30), max_size=4))
def test_any_header_is_survived(lines):
    resolve(scope("10.0.0.1", *((FOR, line) for line in lines)))


async def test_it_wraps_http_and_websockets_and_leaves_the_rest_alone():
    seen = []

    async def application(scope, receive, send):
        seen.append(scope)

    for kind in ("http", "websocket"):
        await TrustedProxies(application)(scope("10.0.0.1", (FOR, "198.51.100.9"), kind=kind), None, None)
    assert [one["client"][0] for one in seen] == ["198.51.100.9"] * 2
    await TrustedProxies(application)({"type": "lifespan"}, None, None)
    assert seen[-1] == {"type": "lifespan"}
