"""What the web's other side may do: other sites, forged headers, and text that wants to be more than text.

Against the real broker, over every route that it has; pages also in a real Chromium.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import sync_playwright
from websockets import InvalidStatus

from tests.browser.conftest import complaints_of
from tests.chromium import ARGUMENTS, CHROMIUM, require
from tests.story.broker import PASSWORD, ROOT, Answer, Broker, copy_of_template, free_port, running
from tests.story.browser import Browser
from tests.story.client import Client
from tests.story.machine import Machine, machine, terminal_grant
from tests.story.routes import all_routes
from tests.story.terminal import SUBPROTOCOL, Terminal, open_socket, request_ticket, shell

OFFLINE = "/api/v1/sessions'"
"""What the page of a terminal asks for is refused here: its host is offline."""
HOSTILE = "=cmd|' /C calc'!A0 \x1b]0;title\x07\x1b[31m\r\nforged [info] line \u202eevil\u2028<script>alert(1)</script>"
UNSAFE = set("\x00\x07\x1b\u202e\u2028\x85")
SEED = """
from django.contrib.auth.models import Group
from terminals.api_tokens import create_api_token
from terminals.grants import create_grant
from terminals.models import AUDITORS
from terminals.people import find_person
from terminals.webhooks.acts import send_test
from tests.machines.helpers import key_line
from tests.people.helpers import make_host
from tests.replay.helpers import record
from tests.webhooks.helpers import make_webhook
from terminals.keys import add_key
from tunnels.audit import OPERATOR
from tunnels.models import Host, State
from tunnels.tokens import create_enrollment_token
admin = find_person("admin")
Group.objects.get(name=AUDITORS).user_set.add(admin)
web0 = make_host("web0", site="berlin")
make_host("new0", state=State.PENDING)
grant = create_grant(person=admin, host=web0, logins=["root"], capabilities=["terminal", "share"], actor=OPERATOR)
hook = make_webhook("https://chat.example/hook")
send_test(webhook=hook, actor=OPERATOR)
session = record(admin, web0)
print("ids", {
    "name": "web0", "host_id": str(web0.pk), "session_id": str(session.pk), "grant_id": grant.pk,
    "webhook_id": str(hook.pk), "delivery_id": hook.deliveries.get().pk, "person_id": find_person("bob").pk,
    "group_id": Group.objects.get(name="ops").pk,
    "key_id": add_key(person=admin, text=key_line("laptop"), actor=OPERATOR).pk,
    "token_id": create_enrollment_token(name="office", actor=OPERATOR)[0].pk,
    "pk": 1, "login_id": "x" * 32, "object_id": str(web0.pk), "content_type_id": 1,
})
"""
CHANGES_NOTHING_BY_LOGIN = {("POST", "api/v1/enrollments")}
"""What a machine sends: no cookie counts there, so none can be misused."""


@dataclass
class Stage:
    broker: Broker
    ids: dict[str, Any]
    admin: Browser
    """Who sees every page: admin, auditor, and owner of something of each kind."""

    def path(self, route: str) -> str:
        route = re.sub(r"\^\(\?P<[^)]*\)/\$", "tunnels/", route).replace("(?P<url>.*)$", "x")
        return "/" + re.sub(r"[<{](?:\w+:)?(\w+)[>}]", lambda found: str(self.ids.get(found[1], "x")), route)

    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route; GET for what is no operation of the API."""
        return sorted({("GET" if method == "*" else method, self.path(route)) for method, route in all_routes()})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    broker = copy_of_template(tmp_path_factory.mktemp("stage") / "data")
    ids = eval(broker.do(SEED).partition("ids ")[2], {})
    broker.start()
    yield Stage(broker, ids, Browser(broker).log_in("admin"))
    broker.stop()


@pytest.fixture(scope="module")
def web1(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machines"), "web1", stage.broker) as made:
        made.bring_up({**terminal_grant(), "capabilities": ["terminal", "exec", "share"]})
        yield made


# Other sites


def origins(url: str) -> list[str]:
    """What a browser, or somebody who poses as one, could send in place of the portal's own."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    return [
        "null",
        "",
        "*",
        f"https://{host}:{port}",
        f"ws://{host}:{port}",
        f"HTTP://{host}:{port}",
        f"http://{host}",
        f"http://{host}:80",
        f"http://{host}:{port}0",
        f"http://{host}:{port}/",
        f"http://{host}.:{port}",
        f"http://{host}.evil.example:{port}",
        f"http://evil.{host}:{port}",
        f"http://evil{host}:{port}",
        f"http://{host}:{port}@evil.example",
        f"http://evil.example#http://{host}:{port}",
        f"http://user@{host}:{port}",
        f"http://LOCALHOST:{port}",
        f"http://l\u043ecalhost:{port}".encode().decode("latin-1"),
        f"http://{host}:{port} http://{host}:{port}",
        f"http://{host}:{port}, http://evil.example",
        f" http://evil.example\thttp://{host}:{port}",
        "file://",
        "chrome-extension://abcdefghijklmnop",
    ]


def upgrade(broker: Broker, *lines: str) -> int:
    """The status of an upgrade with these headers, as bytes on a socket."""
    fixed = [
        "GET /ws/sessions/00000000-0000-4000-8000-000000000000 HTTP/1.1",
        f"Host: 127.0.0.1:{broker.web_port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
    ]
    with socket.create_connection(("127.0.0.1", broker.web_port), timeout=20) as connection:
        connection.sendall("\r\n".join([*fixed, *lines, "", ""]).encode("latin-1"))
        return int(connection.recv(4096).split(b" ")[1])


def test_only_pages_of_the_portal_open_a_terminals_socket(stage: Stage):
    broker = stage.broker
    assert upgrade(broker, f"Origin: {broker.url}") == 101
    assert upgrade(broker) == 403
    for origin in origins(broker.url):
        assert upgrade(broker, f"Origin: {origin}") in (400, 403), origin
    assert upgrade(broker, f"X-Origin: {broker.url}") == 403
    assert upgrade(broker, f"Sec-WebSocket-Origin: {broker.url}") == 403


def test_two_origins_are_none(stage: Stage):
    own, evil = f"Origin: {stage.broker.url}", "Origin: https://evil.example"
    for lines in ((own, evil), (evil, own), (own, own)):
        assert upgrade(stage.broker, *lines) in (400, 403), lines


def test_no_unsafe_request_counts_without_its_token(stage: Stage):
    """Every route and method that could change something, with the cookie of who may do all of it."""
    tried = {(method, route) for method, route in all_routes() if method not in ("*", "GET")}
    tried |= {(method, route) for route in all_pages() for method in ("POST", "PUT", "DELETE", "PATCH")}
    before = stage.broker.do("from tunnels.models import AuditEvent", "print(AuditEvent.objects.count())")
    for method, route in sorted(tried - CHANGES_NOTHING_BY_LOGIN):
        for more in ({}, {"Origin": "https://evil.example"}, {"X-CSRFToken": "x" * 64}):
            answer = stage.broker.call(method, stage.path(route), {}, Cookie=stage.admin.cookie, **more)
            assert answer.status == 403, (method, route, more)
    assert stage.broker.do("from tunnels.models import AuditEvent", "print(AuditEvent.objects.count())") == before
    assert stage.broker.call("POST", "/api/v1/enrollments", {}, Cookie=stage.admin.cookie).status == 422


def all_pages() -> set[str]:
    """Routes outside of the API; health is answered before anything else, whatever the method, and changes nothing."""
    return (
        {route for method, route in all_routes() if method == "*"}
        - {"healthz", "readyz", "metrics"}
        - {
            "api/v1/docs",
            "api/v1/openapi.json",
            "api/v1/",
        }
    )


class Inline(HTMLParser):
    """What a page would run, or be styled by, without a file of ours."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [f"{tag} {name}" for name in given if name.startswith("on") or name in ("style", "srcdoc")]
        is_data = given.get("type") == "application/json"
        if tag in ("style", "iframe", "object", "embed", "base") or (
            tag == "script" and not is_data | ("src" in given)
        ):
            self.found.append(tag)
        for name in ("href", "src", "action", "formaction"):
            if not re.match(r"/(?!/)|[?#]|$|\.|data:image/|https?://|[\w-]+/?$", given.get(name) or ""):
                self.found.append(f"{tag} {name}={given[name]}")

    handle_startendtag = handle_starttag


def check_protected(answer: Answer, what: object) -> None:
    headers = answer.headers
    policy = {words[0]: words[1:] for part in headers["Content-Security-Policy"].split(";") if (words := part.split())}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"], what
    for name, allowed in policy.items():
        nonces = [word for word in allowed if word.startswith("'nonce-")]
        known = {"'none'", "'self'", *nonces, *(["data:"] if name == "img-src" else [])}
        assert set(allowed) <= known, (what, name, allowed)
    assert headers["X-Frame-Options"] == "DENY", what
    assert headers["X-Content-Type-Options"] == "nosniff", what
    assert headers["Referrer-Policy"] in ("same-origin", "no-referrer"), what
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin", what
    assert "Access-Control-Allow-Origin" not in headers, what
    if headers["Content-Type"].startswith("text/html"):
        assert Inline(answer.body.decode()).found == [], what


def test_every_answer_is_protected_and_runs_nothing_inline(stage: Stage):
    """Pages, the Django admin, the API and its docs, files, health, and errors; for who may see all, and for nobody."""
    seen = set()
    for method, path in stage.routes():
        for browser in (stage.admin, Browser(stage.broker)):
            if "logout" in path:
                continue
            answer = browser.call(method, path, None if method == "GET" else {})
            assert answer.status < 500 or path == "/readyz", (method, path, answer.body[:300])
            check_protected(answer, (method, path, answer.status))
            seen.add(answer.status)
    assert {200, 302, 401, 403, 404, 422} <= seen


def test_every_error_is_protected_as_well(stage: Stage):
    call = stage.broker.call
    errors = {
        "another host": (400, call("GET", "/", Host="evil.example")),
        "no such page": (404, call("GET", "/<script>alert(1)</script>/")),
        "no such file": (404, call("GET", "/static/../../manage.py")),
        "another site": (403, call("POST", "/login/", {}, Origin="https://evil.example")),
        "wrong method": (405, stage.admin.call("PUT", "/grants/1/revoke", {})),
        "no such method": (405, stage.admin.call("NONSENSE", "/logout/", {})),
    }
    for what, (status, answer) in errors.items():
        assert answer.status == status, (what, answer.status)
        check_protected(answer, what)
        assert b"<script>alert" not in answer.body and b"Traceback" not in answer.body, what


@pytest.mark.browser
def test_chromium_finds_nothing_to_block(stage: Stage):
    """The pages as they are loaded: their own scripts and styles, no violation, no error, no dialog."""
    require()
    plant_names(stage)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = chromium.new_context()
        for part in stage.admin.cookie.split("; "):
            name, _, value = part.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": stage.broker.url}])
        page = context.new_page()
        found = complaints_of(page)
        page.on("dialog", lambda dialog: found.append(f"dialog {dialog.message}"))
        for method, path in stage.routes():
            if method != "GET" or not shows_a_page(stage, path):
                continue
            page.goto(stage.broker.url + path, wait_until="load")
            assert [text for text in found if OFFLINE not in text] == [], path
        chromium.close()


def shows_a_page(stage: Stage, path: str) -> bool:
    """And not an error, a file or a redirect."""
    answer = stage.admin.call("GET", path)
    return answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")


# Tickets


@pytest.mark.sshd
async def test_a_ticket_dies_with_the_login_that_asked_for_it(stage: Stage, web1: Machine):
    """Shown within its 30 s, from wherever."""
    async with shell(stage.broker, "web1") as terminal:
        alice = Browser(stage.broker).log_in("alice")
        path = f"/api/v1/sessions/{terminal.id}/tickets"
        ticket = (await asyncio.to_thread(alice.call, "POST", path, {"role": "watcher"})).json
        await asyncio.to_thread(alice.submit, "/logout/")
        other = Terminal(await open_socket(ticket["socket"], stage.broker))
        await other.control("attach", ticket=ticket["ticket"], cols=80, rows=24, output_offset=None, input_offset=None)
        assert await other.closed() in (4401, 4403)


@pytest.mark.sshd
async def test_a_ticket_is_for_one_role_and_asking_makes_no_other_of_it(stage: Stage, web1: Machine):
    async with shell(stage.broker, "web1") as terminal:
        ticket = await request_ticket(stage.broker, terminal.id, role="watcher")
        watcher = Terminal(await open_socket(ticket["socket"], stage.broker))
        told = await watcher.attach(ticket["ticket"], role="driver")
        assert told["role"] == "watcher"
        await watcher.control("role", ask="driver")
        await watcher.send(b"echo owned\r")
        assert await watcher.closed() == 4400
        await terminal.run("echo $((6 * 7)) mine")
        assert b"owned" not in await terminal.until(b"42 mine")


@pytest.mark.sshd
async def test_a_ticket_opens_nothing_from_another_site(stage: Stage, web1: Machine):
    async with shell(stage.broker, "web1") as terminal:
        ticket = await request_ticket(stage.broker, terminal.id)
        for origin in origins(stage.broker.url)[3:16]:
            with pytest.raises(InvalidStatus) as refused:
                await open_socket(ticket["socket"], stage.broker, origin=origin)
            assert refused.value.response.status_code in (400, 403)


# How it is started


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKERD_ALLOWED_HOSTS", "*"),
        ("BROKERD_DEBUG", "1"),
        ("BROKERD_PUBLIC_URL", "https://*"),
        ("BROKERD_PUBLIC_URL", "https://.example"),
        ("BROKERD_WEB_BIND", "*:8000"),
    ],
)
def test_it_does_not_start_for_any_host_or_with_debug(stage: Stage, name: str, value: str):
    done = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={**stage.broker.environ, name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"brokerd: {name}: ")


def test_what_other_projects_call_their_settings_changes_nothing(stage: Stage):
    """There is no way but ours, and ours knows neither a wildcard nor a debug mode."""
    names = ("DEBUG", "DJANGO_DEBUG", "ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "SECRET_KEY")
    code = "from django.conf import settings as s; print(s.DEBUG, s.ALLOWED_HOSTS, s.CSRF_TRUSTED_ORIGINS)"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        cwd=ROOT,
        env={**stage.broker.environ, **{name: "*" if "S" in name[-1] else "True" for name in names}},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("False [") and "*" not in done.stdout


def test_it_does_not_start_where_others_read_its_data(tmp_path: Path):
    broker = Broker(tmp_path / "data")
    broker.data_dir.mkdir(mode=0o755)
    done = broker.manage("serve", check=False)
    assert done.returncode == 1
    assert "can be read by others; run: chmod 700" in done.stderr


def test_djangos_own_check_finds_nothing_behind_tls(stage: Stage):
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**stage.broker.environ, "BROKERD_PUBLIC_URL": "https://broker.example"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "System check identified no issues (0 silenced).")


def test_behind_tls_and_in_the_clear(tmp_path: Path):
    """Past the proxy it leads to TLS; nobody but a trusted proxy says that there was some. Cookies never go bare."""
    public = {"BROKERD_PUBLIC_URL": "https://broker.example", "BROKERD_TRUSTED_PROXIES": "127.0.0.1/32"}
    with running(tmp_path / "tls", **public) as broker:
        bare = broker.call("GET", "/login/?next=/grants/", **{"X-Forwarded-Proto": "http"})
        assert (bare.status, bare.headers["Location"]) == (301, "https://broker.example/login/?next=/grants/")
        assert "Set-Cookie" not in bare.headers
        page = broker.call("GET", "/login/")
        assert page.status == 200 and b"not encrypted" not in page.body
        assert "max-age=31536000" in page.headers["Strict-Transport-Security"]
        cookie = page.headers["Set-Cookie"]
        assert cookie.startswith("__Host-csrf=") and "; Secure" in cookie and "Domain" not in cookie
        assert broker.call("GET", "/healthz", **{"X-Forwarded-Proto": "http"}).status == 200
        assert "unencrypted" not in broker.log.read_text()
        forger = broker.call("GET", "/login/", source="127.0.0.2", **{"X-Forwarded-Proto": "https"})
        assert forger.status == 301


def test_a_public_address_without_tls_is_said_aloud(tmp_path: Path):
    """In the log at its start, and on the page where passwords are typed, to who comes from elsewhere."""
    elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    with running(tmp_path / "bare", BROKERD_TRUSTED_PROXIES="127.0.0.1/32") as broker:
        assert "unencrypted" not in broker.log.read_text()
        assert b"not encrypted" not in broker.call("GET", "/login/").body
    port = free_port()
    public = {"BROKERD_WEB_BIND": f"0.0.0.0:{port}", "BROKERD_TRUSTED_PROXIES": "127.0.0.1/32"}
    broker = copy_of_template(tmp_path / "public", **public)
    broker.web_port = port
    broker.start()
    try:
        assert "passwords and terminals cross the network unencrypted" in broker.log.read_text()
        assert b"not encrypted" in broker.call("GET", "/login/", **elsewhere).body
    finally:
        broker.stop()


# Text that wants to be more than text

Door = Callable[[Stage], Any]


def by_api(method: str, path: str, who: str = "admin", /, **body: Any) -> Door:
    return lambda stage: stage.broker.call(method, f"/api/v1{path}", body, who).status


def enroll(stage: Stage, **more: Any) -> int:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
    body = {"name": "evil1", "public_key": key, "host_keys": [key], **more}
    return stage.broker.call("POST", "/api/v1/enrollments", body, source="127.9.9.9").status


def log_in_as(stage: Stage, name: str, **headers: str) -> int:
    browser = Browser(stage.broker)
    browser.call("GET", "/login/")
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    body = f"login={quote(name)}&password={quote(PASSWORD)}".encode()
    return browser.call("POST", "/login/", body, **form).status


def by_form(page: str, **fields: str) -> Door:
    return lambda stage: stage.admin.submit(page, **fields).status


HEADER = "=cmd <script>alert(1)</script> \u00e2\u0080\u00ae"
"""As much of it as Daphne lets into a header."""
DOORS: dict[str, tuple[Door, tuple[int, ...]]] = {
    "a machine's name": (lambda stage: enroll(stage, name=HOSTILE), (422,)),
    "its hostname": (lambda stage: enroll(stage, info={"hostname": HOSTILE}), (422,)),
    "its login": (lambda stage: enroll(stage, login=HOSTILE), (422,)),
    "a name that nobody has": (lambda stage: log_in_as(stage, HOSTILE), (200,)),
    "a browser": (lambda stage: log_in_as(stage, "alice", **{"User-Agent": HEADER}), (302,)),
    "an address": (lambda stage: log_in_as(stage, "alice", **{"X-Forwarded-For": HEADER}), (302,)),
    "a path": (lambda stage: stage.admin.call("GET", f"/hosts/{quote(HOSTILE, safe='')}/").status, (404,)),
    "a path of the API": (lambda stage: stage.broker.call("GET", f"/api/v1/x{quote(HOSTILE)}").status, (404,)),
    "a query": (lambda stage: stage.admin.call("GET", f"/sessions/?all&q={quote(HOSTILE)}").status, (200,)),
    "a host": (by_api("POST", "/sessions", "alice", host=HOSTILE, login="root"), (404, 422)),
    "a login": (by_api("POST", "/sessions", "alice", host="web1", login=HOSTILE), (403, 422)),
    "a grant": (by_api("POST", "/grants", person=HOSTILE, host="web0", logins=[HOSTILE]), (404, 422)),
    "a question": (by_api("POST", "/grants/explain", person=HOSTILE, host=HOSTILE, login=HOSTILE), (404, 422)),
    "a webhook": (by_form("/webhooks/", name=HOSTILE, url="https://192.0.2.1/", events="session.opened"), (200,)),
    "an enrollment token": (by_form("/approvals/tokens/", name=HOSTILE, uses="1", expires="1h"), (200,)),
    "an API token": (by_form("/account/", name=HOSTILE, expires="1h"), (200,)),
    "a link's guest": (by_api("POST", "/shares/ask", "bob", secret=HOSTILE, name=HOSTILE), (404, 422)),
}


def plant_names(stage: Stage) -> None:
    for what, (door, expected) in DOORS.items():
        assert door(stage) in expected, what


def check_text(text: str, what: str) -> None:
    """No control or direction characters, but for the ends of lines."""
    assert not UNSAFE & set(text), (what, sorted(UNSAFE & set(text)))


@pytest.mark.sshd
async def test_hostile_text_through_every_door(stage: Stage, web1: Machine, tmp_path: Path):
    """Wherever it is shown it is one line of plain text; no page, file, log or terminal takes it for more."""
    broker = stage.broker
    client = Client(tmp_path / "alice", broker, "alice")
    key = (client.key.with_suffix(".pub")).read_text().strip()
    comment = " ".join(HOSTILE.splitlines())
    client.key.with_suffix(".pub").write_text(f"{key} {comment}\n")
    client.add_key()
    await asyncio.to_thread(plant_names, stage)
    async with shell(broker, "web1", reason=HOSTILE) as terminal:
        await terminal.run("printf '\\033]0;forged\\007\\033]52;c;Zm9yZ2Vk\\007\\033P$qm\\033\\\\'")
        said = await asyncio.to_thread(
            broker.call, "POST", f"/api/v1/sessions/{terminal.id}/say", {"text": HOSTILE}, "alice"
        )
        assert said.status == 422
        await asyncio.to_thread(client.ssh, f"{web1.enrollment['login']}@web1", f"echo {HOSTILE!r}")
        pages = await asyncio.to_thread(look_at_pages, stage, f"/sessions/{terminal.id}/")
    assert pages > 35
    await asyncio.to_thread(look_at_files, stage)
    listing = await asyncio.to_thread(client.ssh, "alice")
    check_text(listing.stdout.decode(), "ssh listing")
    refused = await asyncio.to_thread(client.ssh, "nobody@evil\u202e<script>")
    check_text((refused.stdout + refused.stderr).decode().replace("\u202e<script>", ""), "ssh refusal")
    log = broker.log.read_text()
    check_text(log, "log")
    assert not re.search(r"(?m)^forged", log)
    assert "<U+001B>" in await asyncio.to_thread(
        lambda: stage.admin.call("GET", "/audit/").body.decode().replace("&lt;", "<").replace("&gt;", ">")
    ), "it is there, to be seen"


def look_at_pages(stage: Stage, *more: str) -> int:
    """All of them as the admin sees them; how many."""
    count = 0
    for path in [*(path for method, path in stage.routes() if method == "GET"), *more]:
        if not shows_a_page(stage, path):
            assert path not in more
            continue
        html = stage.admin.call("GET", path).body.decode()
        check_text(html, path)
        assert "<script>alert" not in html, path
        assert Inline(html).found == [], path
        count += 1
    return count


def look_at_files(stage: Stage) -> None:
    for path in ("/audit/export.csv", "/sessions/export.csv"):
        text = stage.admin.call("GET", path).body.decode()
        check_text(text, path)
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1, "no cell begins a row"
        assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")], path
    lines = stage.admin.call("GET", "/api/v1/audit", Accept="application/x-ndjson").body.decode().splitlines()
    assert len([json.loads(line) for line in lines]) > 20
    check_text("".join(map(json.dumps, map(json.loads, lines))).encode().decode("unicode_escape", "replace"), "ndjson")
