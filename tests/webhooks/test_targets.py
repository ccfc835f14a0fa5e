"""Where a webhook may lead: the broker stands where others cannot reach."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terminals.webhooks.targets import MAX_URL, wrong_address, wrong_url

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1"]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.7",
    "100.64.0.1",
    "::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:0a00:0001::1",
]
NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:53aa:64c::1",
    "::169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "fec0::1",
    "240.0.0.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_need_tls(address):
    for allows_private in (False, True):
        assert wrong_address(ip_address(address), is_tls=True, allows_private=allows_private) == ""
        assert "TLS" in wrong_address(ip_address(address), is_tls=False, allows_private=allows_private)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_need_an_admins_word(address):
    for is_tls in (False, True):
        assert wrong_address(ip_address(address), is_tls=is_tls, allows_private=True) == ""
        assert "private" in wrong_address(ip_address(address), is_tls=is_tls, allows_private=False)


@pytest.mark.parametrize("address", NEVER)
def test_link_local_and_metadata_never(address):
    for is_tls in (False, True):
        for allows_private in (False, True):
            wrong = wrong_address(ip_address(address), is_tls=is_tls, allows_private=allows_private)
            assert "no place for a webhook" in wrong


@pytest.mark.parametrize(
    "url",
    [
        "https://chat.example/hooks/x?token=1",
        "https://93.184.216.34/",
        "https://[2606:2800:220:1::1]:8443/x",
        "https://xn--bcher-kva.example:8443/",
    ],
)
def test_urls_that_are_taken(url):
    assert wrong_url(url, allows_private=False) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://chat.example/",
        "ftp://chat.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "https:///x",
        "https://",
        "chat.example",
        "",
        "https://user@chat.example/",
        "https://user:password@chat.example/",
        "https://:@chat.example/",
        "https://chat.example/#here",
        "https://chat.example:0/",
        "https://chat.example:99999/",
        "https://chat.example:x/",
        "https://[::1/",
        "https://chat.example/\r\nX-Evil: 1",
        "https://chat.example/ x",
        "https://bücher.example/",
        "https://127.0.0.1/",
        "https://10.0.0.1:8443/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://chat.example/" + "x" * MAX_URL,
    ],
)
def test_urls_that_are_not(url):
    assert wrong_url(url, allows_private=False)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("http://127.0.0.1:8080/x", True),
        ("http://receiver.internal/x", True),
        ("https://10.0.0.1/x", True),
        ("http://93.184.216.34/x", False),
        ("http://169.254.169.254/latest/meta-data/", False),
        ("http://[fe80::1]/", False),
    ],
)
def test_where_private_networks_are_allowed(url, is_taken):
    assert (wrong_url(url, allows_private=True) == "") is is_taken
