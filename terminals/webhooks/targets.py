"""Where a webhook may lead. An admin writes the address, and yet: a broker stands where others cannot reach. Pure.

The name is resolved at each attempt, and the connection goes to the very address that was judged here: a name that
resolves to another one a moment later changes nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

MAX_URL = 500
_NAT64 = IPv6Network("64:ff9b::/96")
_METADATA = frozenset(
    map(ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.169.254", "fd00:ec2::254"))
)
"""Where clouds hand out credentials and configuration to whoever asks from the right machine."""
_NOWHERE = (ip_network("2001::/32"), ip_network("fec0::/10"))
"""Teredo, which leads wherever it says, and what was site-local once: not for us."""

Address = IPv4Address | IPv6Address


def wrong_url(url: str, *, allows_private: bool) -> str:
    """Why a webhook cannot have this URL; empty where it can."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return f"a URL has at most {MAX_URL} characters, all of them ASCII and none of them a blank"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "write a URL such as https://chat.example/hooks/brokerd"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "a URL with a user, a password or a fragment is not taken; receivers know us by the signature"
    if parts.scheme == "http" and not allows_private:
        return "without TLS only receivers in private networks are told, and only where that is allowed: use https"
    literal = _literal(parts.hostname)
    return wrong_address(literal, is_tls=parts.scheme == "https", allows_private=allows_private) if literal else ""


def wrong_address(address: Address, *, is_tls: bool, allows_private: bool) -> str:
    """Why nothing is sent to this address; empty where it is."""
    inner = _inner(address)
    is_reserved = inner.is_reserved and not inner.is_loopback  # ::1 counts as both
    if inner in _METADATA or inner.is_link_local or inner.is_multicast or inner.is_unspecified or is_reserved:
        return f"{address} is no place for a webhook: link-local, multicast, reserved or a cloud's metadata"
    if not inner.is_global:
        return "" if allows_private else f"{address} is in a private network, which this webhook may not lead to"
    return "" if is_tls else f"{address} is public: without TLS everybody on the way would read along"


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NOWHERE):
        return IPv6Address("::")
    return address.ipv4_mapped or address.sixtofour or address


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
