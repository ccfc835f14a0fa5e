"""The settings of one node, read from the environment in one place; fails loudly on nonsense.

Knows no Django: `brokerd.settings` turns a `Config` into Django's names, everything else reads the `Config` itself.
A secret may also come as `NAME_FILE`. Times are durations (`30s`, `10m`, `2h`, `7d`; a bare number is seconds).
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from terminals.recording.policy import Policy
from tunnels.files import private_file

BASE_DIR = Path(__file__).resolve().parent.parent
Network = IPv4Network | IPv6Network

_DURATION = re.compile(r"(\d+)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.IGNORECASE)
_DEFAULT_PORT = {"http": 80, "https": 443}


class ConfigError(Exception):
    """A setting or the data directory does not make sense; the message says which and what to do."""


def parse_duration(text: str) -> int:
    """Seconds of `30s`, `10m`, `2h`, `7d` or `45`. ValueError on anything else."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration such as 30s, 10m, 2h or 7d")
    return int(match[1]) * _UNIT_S[match[2]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a socket listens, or what others dial."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def parse_address(text: str) -> Address:
    """`HOST:PORT` or `[V6]:PORT`. ValueError on anything else; port 0 means any free port."""
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not _is_host(host) or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


def _is_host(text: str) -> bool:
    """A name or an address. `*` and `.example`, which Django takes for many hosts, are neither."""
    try:
        ip_address(text)
    except ValueError:
        return text.isascii() and bool(_NAME.fullmatch(text))
    return True


def _bool(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _ports(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and 1024 <= int(first) <= int(last) <= 65535):
        raise ValueError(f"{text!r} is not a range of ports such as 22100-23099")
    return range(int(first), int(last) + 1)


def _url(text: str) -> str:
    parts = urlsplit(text)
    is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in _DEFAULT_PORT or not is_plain or parts.port == 0 or not _is_host(parts.hostname or ""):
        raise ValueError(f"{text!r} is not a URL such as https://broker.example (names in letters of ASCII)")
    return _origin(parts.hostname or "", parts.port, parts.scheme)


def _origin(host: str, port: int | None, scheme: str = "http") -> str:
    """RFC 6454 section 6, as browsers do it: lower case, short IPv6, without the scheme's own port."""
    try:
        shown = ip_address(host).compressed
    except ValueError:
        shown = host.lower()
    return f"{scheme}://{_bracketed(shown)}" + ("" if port in (None, _DEFAULT_PORT[scheme]) else f":{port}")


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError(f"{text!r} is neither text nor json")
    return text


def _anchor(text: str) -> str:
    if text not in ("", "syslog") and not Path(text).is_absolute():
        raise ValueError(f"{text!r} is neither syslog nor the full path of a file")
    return text


def _policy(text: str) -> Policy:
    if text not in set(Policy):
        raise ValueError(f"{text!r} is none of {', '.join(Policy)}")
    return Policy(text)


def _positive(text: str) -> int:
    if (seconds := parse_duration(text)) == 0:
        raise ValueError("it must be more than 0")
    return seconds


def _setting(name: str, default: str, parse: Any, meaning: str) -> Any:
    return field(metadata={"name": name, "default": default, "parse": parse, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. The README's table is compared with this class by a test."""

    data_dir: Path = _setting(
        "BROKERD_DATA_DIR", "var", Path, "database, keys, logs and recordings; must be private (0700)"
    )
    secret_key: str = _setting(
        "BROKERD_SECRET_KEY", "", str, "signs cookies and poll tokens; made in the data directory when absent"
    )
    web_bind: Address = _setting("BROKERD_WEB_BIND", "127.0.0.1:8000", parse_address, "where the portal listens")
    ssh_bind: Address = _setting("BROKERD_SSH_BIND", "127.0.0.1:2222", parse_address, "where the SSH gateway listens")
    public_url: str = _setting(
        "BROKERD_PUBLIC_URL", "", lambda text: _url(text) if text else "", "what people type; default from the web bind"
    )
    ssh_public: Address | None = _setting(
        "BROKERD_SSH_PUBLIC",
        "",
        lambda text: parse_address(text) if text else None,
        "host:port that agents and people dial; default from the public URL and the SSH bind",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "BROKERD_TRUSTED_PROXIES", "", _networks, "networks (CIDR, comma) whose X-Forwarded-For and -Proto count"
    )
    open_enrollment: bool = _setting(
        "BROKERD_OPEN_ENROLLMENT", "0", _bool, "1: a machine may ask to enroll without a token (make run: 1)"
    )
    tunnel_ports: range = _setting("BROKERD_TUNNEL_PORTS", "22100-23099", _ports, "range of the tunnel ports")
    bind_tunnel_ports: bool = _setting(
        "BROKERD_BIND_TUNNEL_PORTS",
        "0",
        _bool,
        "1: the tunnel ports of online hosts listen on 127.0.0.1, for local users",
    )
    session_grace_s: int = _setting(
        "BROKERD_SESSION_GRACE", "600", _positive, "how long a terminal session waits for its browser"
    )
    idle_timeout_s: int = _setting(
        "BROKERD_IDLE_TIMEOUT", "900", parse_duration, "a terminal nobody types in ends after this; 0: never"
    )
    max_session_s: int = _setting("BROKERD_MAX_SESSION", "8h", _positive, "the longest terminal session")
    recording: Policy = _setting(
        "BROKERD_RECORDING",
        "required",
        _policy,
        "terminals are recorded; required: one that cannot be does not open, or ends; best-effort: it goes on with a "
        "gap; off: nothing is recorded",
    )
    recording_retention_s: int = _setting(
        "BROKERD_RECORDING_RETENTION", "90d", parse_duration, "how long recordings are kept; 0: for ever"
    )
    keepalive_s: int = _setting(
        "BROKERD_KEEPALIVE", "10", _positive, "how often a tunnel is probed; offline after three without answer"
    )
    metrics_allow: tuple[Network, ...] = _setting(
        "BROKERD_METRICS_ALLOW", "127.0.0.0/8,::1/128", _networks, "networks (CIDR, comma) that may read /metrics"
    )
    audit_anchor: str = _setting(
        "BROKERD_AUDIT_ANCHOR",
        "",
        _anchor,
        "full path of the file that holds the audit log's anchor (default: audit.anchor in the data directory), "
        "or syslog: there as well",
    )
    log_format: str = _setting("BROKERD_LOG_FORMAT", "text", _log_format, "text or json")

    @property
    def anchors_in_syslog(self) -> bool:
        return self.audit_anchor == "syslog"

    @property
    def anchor_file(self) -> Path:
        """Where each audit event's hash is kept outside of the database."""
        is_file = self.audit_anchor and not self.anchors_in_syslog
        return Path(self.audit_anchor) if is_file else self.data_dir / "audit.anchor"

    @property
    def portal_url(self) -> str:
        """What a browser dials, without a trailing slash."""
        host = "127.0.0.1" if self.web_bind.host in ("0.0.0.0", "::") else self.web_bind.host  # noqa: S104
        return self.public_url or _origin(host, self.web_bind.port)

    @property
    def gateway_address(self) -> Address:
        """What agents dial."""
        return self.ssh_public or Address(urlsplit(self.portal_url).hostname or "localhost", self.ssh_bind.port)

    @property
    def is_tls(self) -> bool:
        return self.portal_url.startswith("https://")

    @property
    def is_in_the_clear(self) -> bool:
        """Whether passwords and cookies may cross a network unencrypted."""
        host = Address(urlsplit(self.portal_url).hostname or "", 0)
        return not self.is_tls and not (host.is_loopback and self.web_bind.is_loopback)

    @property
    def origins(self) -> frozenset[str]:
        """The exact origins of the portal's own pages: the only ones whose websockets and forms are taken."""
        if self.public_url or not self.web_bind.is_loopback:
            return frozenset({self.portal_url})
        names = ("localhost", "127.0.0.1", "::1", self.web_bind.host)
        return frozenset(_origin(name, self.web_bind.port) for name in names)

    @property
    def allowed_hosts(self) -> list[str]:
        """Django's ALLOWED_HOSTS: never a wildcard."""
        return sorted({_bracketed(urlsplit(origin).hostname or "") for origin in self.origins})


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


NOT_YET = ("DATABASE_URL", "REDIS_URL")
"""Names that others use: whoever sets them would believe that their data is there."""
NAMES_OF_THE_AGENT = frozenset({"BROKERD_TOKEN"})
SECRETS = frozenset({"BROKERD_SECRET_KEY"})


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """This process's configuration. ConfigError names the setting that is wrong. Reads no file but `NAME_FILE`s."""
    known = {item.metadata["name"] for item in fields(Config)}
    for name in environ.keys() - NAMES_OF_THE_AGENT:
        if name.startswith("BROKERD_") and name not in known and name.removesuffix("_FILE") not in SECRETS:
            raise ConfigError(f"{name}: no such setting; the README lists them")
    for name in NOT_YET:
        if environ.get(name):
            raise ConfigError(f"{name}: this version knows the embedded database and one node only; unset it")
    values = {item.name: _value(item.metadata, environ) for item in fields(Config)}
    values["data_dir"] = BASE_DIR / values["data_dir"]
    return Config(**values)


def _value(meta: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    name = meta["name"]
    text = environ.get(name, "")
    if not text and name in SECRETS and (file := environ.get(f"{name}_FILE")):
        try:
            text = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}_FILE: cannot read {file}: {error}") from error
    try:
        return meta["parse"](text or meta["default"])
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def prepare_data_dir(config: Config) -> None:
    """Make the data directory (0700) and see that it is ours alone. ConfigError says what to do."""
    path = config.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"data directory {path} cannot be written ({error.strerror}); "
            "change its owner, or set BROKERD_DATA_DIR to a folder that this user owns"
        ) from error
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"data directory {path} can be read by others; run: chmod 700 {path}")


def secret_key(config: Config) -> str:
    """The configured secret key, else the one in the data directory, made there (0600) when it is missing."""
    if config.secret_key:
        if len(config.secret_key) < 32:
            raise ConfigError("BROKERD_SECRET_KEY: shorter than 32 characters; leave it out to have one made")
        return config.secret_key
    prepare_data_dir(config)
    return private_file(config.data_dir / "secret_key", lambda: secrets.token_urlsafe(48).encode()).decode()
