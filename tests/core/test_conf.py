"""`brokerd.conf`: every setting is typed, and nonsense is refused by name."""

from __future__ import annotations

import stat
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerd.conf import (
    BASE_DIR,
    Address,
    Config,
    ConfigError,
    load,
    parse_address,
    parse_duration,
    prepare_data_dir,
    secret_key,
)

NONSENSE = [
    *(
        ("BROKERD_WEB_BIND", text)
        for text in ("8000", "localhost", ":8000", "h:70000", "h:-1", "h:x", "h:８０", "*:80")
    ),
    ("BROKERD_SSH_BIND", "127.0.0.1"),
    *(
        ("BROKERD_PUBLIC_URL", text)
        for text in (
            "broker.example",
            "ftp://broker.example",
            "https://",
            "https://b/path",
            "https://b?q",
            "https://b#x",
            "https://me@b",
            "https://b:port",
            "https://b:99999",
            "https://b:0",
            "https://[::1",
            "https://*",
            "https://*.example",
            "https://.example",
            "https://broker.example.",
            "https://b..example",
            "https://bröker.example",
            "https://b roker",
            "https://@broker.example",
        )
    ),
    ("BROKERD_SSH_PUBLIC", "broker.example"),
    *(("BROKERD_TRUSTED_PROXIES", text) for text in ("proxy", "10.0.0.1/8", "10.0.0.0/33", "1.2.3.4;5.6.7.8")),
    ("BROKERD_METRICS_ALLOW", "everybody"),
    ("BROKERD_BIND_TUNNEL_PORTS", "yes"),
    *(("BROKERD_OPEN_ENROLLMENT", text) for text in ("yes", "true", "2", "-1")),
    *(("BROKERD_TUNNEL_PORTS", text) for text in ("22100", "a-b", "200-100", "80-90", "22100-70000", "22100-", "²-³")),
    *(("BROKERD_SESSION_GRACE", text) for text in ("10 minutes", "-1", "1.5h", "h", "1w")),
    ("BROKERD_IDLE_TIMEOUT", "never"),
    *(("BROKERD_MAX_SESSION", text) for text in ("0", "0s", "long")),
    *(("BROKERD_KEEPALIVE", text) for text in ("0", "off")),
    *(("BROKERD_RECORDING", text) for text in ("on", "Required", "REQUIRED", "best effort")),
    *(("BROKERD_RECORDING_RETENTION", text) for text in ("for ever", "-1", "3 months")),
    *(("BROKERD_AUDIT_ANCHOR", text) for text in ("anchor", "./anchor", "Syslog")),
    ("BROKERD_LOG_FORMAT", "xml"),
    ("BROKERD_SECRET_KEY_FILE", "/does/not/exist"),
    ("BROKERD_WEBBIND", "127.0.0.1:1"),
    ("BROKERD_WEB_BIND_FILE", "/etc/hostname"),  # only secrets come in files
]


@pytest.mark.parametrize(("name", "text"), NONSENSE)
def test_nonsense_is_refused_by_name(name, text):
    with pytest.raises(ConfigError, match=f"^{name}"):
        load({name: text})


def test_each_setting_that_can_be_wrong_is_tried_above():
    tried = {name for name, _ in NONSENSE}
    free = {"BROKERD_DATA_DIR", "BROKERD_SECRET_KEY"}  # any text; both are judged when they are used, below
    assert {item.metadata["name"] for item in fields(Config)} - free <= tried


def test_defaults():
    config = load({})
    assert config.data_dir == BASE_DIR / "var"
    assert (str(config.web_bind), str(config.ssh_bind)) == ("127.0.0.1:8000", "127.0.0.1:2222")
    assert (config.portal_url, str(config.gateway_address)) == ("http://127.0.0.1:8000", "127.0.0.1:2222")
    assert config.tunnel_ports == range(22100, 23100)
    assert (config.session_grace_s, config.idle_timeout_s, config.max_session_s) == (600, 900, 8 * 3600)
    assert config.trusted_proxies == () and not config.open_enrollment and not config.is_tls


def test_empty_means_not_set():
    assert load({item.metadata["name"]: "" for item in fields(Config)}) == load({})


def test_the_agents_own_variable_and_those_of_others_are_left_alone():
    assert load({"BROKERD_TOKEN": "t", "PATH": "/bin", "XBROKERD": "1"}) == load({})


def test_a_public_broker():
    config = load(
        {
            "BROKERD_PUBLIC_URL": "https://broker.example/",
            "BROKERD_SSH_PUBLIC": "ssh.example:22",
            "BROKERD_WEB_BIND": "[::]:80",
            "BROKERD_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "BROKERD_DATA_DIR": "/srv/brokerd",
        }
    )
    assert config.portal_url == "https://broker.example" and config.is_tls
    assert config.origins == {"https://broker.example"} and config.allowed_hosts == ["broker.example"]
    assert config.gateway_address == Address("ssh.example", 22)
    assert config.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert config.data_dir == Path("/srv/brokerd")


@pytest.mark.parametrize(
    ("bind", "url", "origins"),
    [
        ("127.0.0.1:80", "http://127.0.0.1", {"http://127.0.0.1", "http://localhost", "http://[::1]"}),
        ("127.0.0.1:81", "http://127.0.0.1:81", {"http://127.0.0.1:81", "http://localhost:81", "http://[::1]:81"}),
        ("0.0.0.0:443", "http://127.0.0.1:443", {"http://127.0.0.1:443"}),
        ("[::]:80", "http://127.0.0.1", {"http://127.0.0.1"}),
        ("10.1.1.1:80", "http://10.1.1.1", {"http://10.1.1.1"}),
    ],
)
def test_no_origin_and_no_host_is_ever_a_wildcard(bind, url, origins):
    config = load({"BROKERD_WEB_BIND": bind})
    assert config.portal_url == url and config.origins == origins
    assert not any("*" in host or host.startswith(".") for host in config.allowed_hosts)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Broker.Example:443/", "https://broker.example"),
        ("http://broker.example:80", "http://broker.example"),
        ("https://broker.example:80", "https://broker.example:80"),
        ("https://[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://xn--brker-jua.example", "https://xn--brker-jua.example"),
    ],
)
def test_the_origin_is_written_as_browsers_write_it(url, origin):
    assert load({"BROKERD_PUBLIC_URL": url}).origins == {origin}


@pytest.mark.parametrize(
    ("bind", "url", "in_the_clear"),
    [
        ("127.0.0.1:8000", "", False),
        ("[::1]:8000", "http://localhost:8000", False),
        ("0.0.0.0:8000", "", True),
        ("192.0.2.1:8000", "", True),
        ("127.0.0.1:8000", "http://broker.example", True),
        ("127.0.0.1:8000", "http://127.evil.example", True),
        ("0.0.0.0:8000", "https://broker.example", False),
    ],
)
def test_what_crosses_a_network_unencrypted_is_known(bind, url, in_the_clear):
    assert load({"BROKERD_WEB_BIND": bind, "BROKERD_PUBLIC_URL": url}).is_in_the_clear is in_the_clear


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("45", 45), ("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604800), (" 5m ", 300)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("h:1", Address("h", 1)),
        ("[::1]:22", Address("::1", 22)),
        ("::1:22", Address("::1", 22)),
        ("h:0", Address("h", 0)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@given(st.text(max_size=20))
def test_anything_else_is_a_value_error(text):
    for parse in (parse_duration, parse_address):
        try:
            parse(text)
        except ValueError:
            continue


def test_a_secret_from_a_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s" * 40 + "\n")
    assert load({"BROKERD_SECRET_KEY_FILE": str(path)}).secret_key == "s" * 40
    assert load({"BROKERD_SECRET_KEY_FILE": str(path), "BROKERD_SECRET_KEY": "t" * 40}).secret_key == "t" * 40
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="BROKERD_SECRET_KEY_FILE"):
        load({"BROKERD_SECRET_KEY_FILE": str(path)})


def test_the_secret_key_is_made_once_in_a_private_directory(tmp_path):
    config = load({"BROKERD_DATA_DIR": str(tmp_path / "data")})
    key = secret_key(config)
    assert len(key) >= 43 and secret_key(config) == key
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="BROKERD_SECRET_KEY: shorter"):
        secret_key(load({"BROKERD_SECRET_KEY": "short"}))


def test_a_data_directory_that_others_read_is_refused(tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match=r"run: chmod 700"):
        prepare_data_dir(load({"BROKERD_DATA_DIR": str(tmp_path / "data")}))


def test_a_data_directory_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="BROKERD_DATA_DIR"):
        prepare_data_dir(load({"BROKERD_DATA_DIR": str(tmp_path / "file" / "data")}))


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_what_is_not_built_yet_is_not_ignored(name):
    with pytest.raises(ConfigError, match=f"^{name}: "):
        load({name: "x://elsewhere"})
