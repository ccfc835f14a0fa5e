"""`deploy/nginx.conf` and `deploy/Caddyfile`, as they stand but for ports and certificate, with a real browser."""

from __future__ import annotations

import http.client
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.browser.desk import Terminal
from tests.chromium import chromium_running
from tests.deploy.conftest import NAME
from tests.needs import require_program
from tests.story.broker import PASSWORD, ROOT, SCALE, Broker, free_port, until
from tests.story.machine import LOGIN, Machine

pytestmark = [pytest.mark.browser, pytest.mark.sshd]


def nginx(folder: Path, broker: Broker, port: int, certificate: Path) -> list[str]:
    site = (ROOT / "deploy/nginx.conf").read_text()
    site, replaced = re.subn(r"(?m)^ *listen \[::\].*\n", "", site)
    assert replaced == 2
    for there, here in {
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/broker.example": str(certificate),
        "127.0.0.1:8000": f"127.0.0.1:{broker.web_port}",
    }.items():
        assert there in site, there
        site = site.replace(there, here)
    (folder / "site.conf").write_text(site)
    main = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n"
    (folder / "nginx.conf").write_text(
        f"{user}{main}http {{ access_log {folder}/access.log;\n{kept}include {folder}/site.conf; }}\n"
    )
    return ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder: Path, broker: Broker, port: int, certificate: Path) -> list[str]:
    site = (ROOT / "deploy/Caddyfile").read_text()
    tls = f"tls {certificate}/fullchain.pem {certificate}/privkey.pem"
    for there, here in {
        "\nbroker.example {\n": f"\nbroker.example:{port} {{\n\tbind 127.0.0.1\n\t{tls}\n",
        "127.0.0.1:8000": f"127.0.0.1:{broker.web_port}",
    }.items():
        assert there in site, there
        site = site.replace(there, here)
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


Proxy = Callable[[Path, Broker, int, Path], list[str]]


@contextmanager
def in_front(proxy: Proxy, folder: Path, broker: Broker, port: int, certificate: Path) -> Iterator[None]:
    require_program(proxy.__name__)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(proxy(folder, broker, port, certificate), stdout=log, stderr=log)
    try:
        until(lambda: answers(port, certificate), f"{proxy.__name__} answers; see {folder}/log", 20)
        yield
    finally:
        process.terminate()
        process.wait(30 * SCALE)


def ask(
    port: int, certificate: Path, method: str, path: str, body: bytes = b"", **headers: str
) -> http.client.HTTPResponse:
    """One request over TLS to the broker's name, its certificate checked."""
    trusted = ssl.create_default_context(cafile=certificate / "fullchain.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10 * SCALE, context=trusted)
    connection.sock = trusted.wrap_socket(
        http.client.socket.create_connection(("127.0.0.1", port), 10 * SCALE), server_hostname=NAME
    )
    with suppress(OSError):  # a body that is refused before it was sent whole
        connection.request(method, path, body, headers={"Host": f"{NAME}:{port}", **headers})
    return connection.getresponse()


def answers(port: int, certificate: Path) -> bool:
    try:
        return ask(port, certificate, "GET", "/healthz").status == 200
    except OSError:
        return False


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, tmp_path: Path, broker: Broker, tls_port: int, certificate: Path
) -> Iterator[Broker]:
    with in_front(request.param, tmp_path, broker, tls_port, certificate):
        yield broker


def test_a_terminal_over_tls(proxied: Broker, web1: Machine):
    with chromium_running(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(f"{proxied.url}/login/")
        page.fill("input[name=login]", "alice")
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(f"{proxied.url}/")
        cookies = {cookie["name"]: cookie for cookie in context.cookies()}
        assert cookies.keys() >= {"__Host-brokerd", "__Host-csrf"}
        assert all(cookie["secure"] for cookie in cookies.values())
        page.goto(f"{proxied.url}/hosts/web1/terminal?login={LOGIN}")
        terminal = Terminal(page)
        terminal.is_state("live")
        terminal.at_prompt()
        terminal.run("echo through $((6 * 7)) hops")
        terminal.shows("through 42 hops")


def test_what_a_client_says_of_its_address_does_not_count(proxied: Broker, tls_port: int, certificate: Path):
    forged = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer nothing"}
    assert ask(tls_port, certificate, "GET", "/metrics", **forged).status == 200  # loopback may, 203.0.113.9 may not


def test_a_large_body_is_refused(proxied: Broker, tls_port: int, certificate: Path):
    assert ask(tls_port, certificate, "POST", "/api/v1/enrollments", bytes(2 * 1024 * 1024)).status == 413
