"""SSH keys on one's account page, and what to type into an ssh client: only what one may, with the real addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from brokerd.conf import Address
from terminals.grants import create_grant
from terminals.keys import add_key, note_use
from terminals.models import PersonKey
from terminals.people import create_person
from tests.machines.helpers import key_line
from tests.pages.helpers import Browser, Page
from tests.pages.test_hosts import commands_under
from tests.people.helpers import ADDRESS, events, last_event, make_host
from tunnels import keystore
from tunnels.audit import OPERATOR
from tunnels.keys import parse_public_key
from tunnels.models import Host

ACCOUNT, KEYS = "/account/", "/account/keys/"
HERS = key_line("alice's laptop")
FINGERPRINT = parse_public_key(HERS).fingerprint
HOST_KEY = " ".join(key_line("sshd of web1").split()[:2])
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def browser(alice) -> Browser:
    return Browser(alice)


@pytest.fixture(autouse=True)
def public_address(settings):
    settings.BROKERD = replace(settings.BROKERD, ssh_public=Address("broker.example", 2222))


def add(browser: Browser, line: str = "", file: bytes | None = None) -> Page:
    sent: dict[str, Any] = {"line": line}
    if file is not None:
        sent["file"] = SimpleUploadedFile("id.pub", file)
    browser.open(ACCOUNT)
    return browser.send(KEYS, **sent)


def grant(person, host, *capabilities: str, login: str = "root") -> None:
    create_grant(person=person, host=host, logins=[login], capabilities=capabilities, actor=OPERATOR)


def test_three_people(alice, bob, charlie):
    add(Browser(alice), HERS)
    page = add(Browser(bob), f"{HERS} bob@desk")
    assert "This key is in use already; make a new one." in page.text
    assert "alice" not in page.text
    assert FINGERPRINT in Browser(alice).open(ACCOUNT).text
    for person in (bob, charlie):
        page = Browser(person).open(ACCOUNT)
        assert FINGERPRINT not in page.html
        assert "No key yet." in page.text


def test_pasted(browser, alice):
    page = add(browser, f"{HERS} alice@laptop")
    assert page.messages == [f"Key {FINGERPRINT} is added."]
    row = page.one("tbody", id="key-rows").text
    for fact in ("alice@laptop", "ED25519", FINGERPRINT, "never"):
        assert fact in row
    assert (last_event().person, last_event().address) == ("alice", ADDRESS)
    note_use(alice.keys.get().pk, "198.51.100.9")
    assert "from 198.51.100.9" in browser.open(ACCOUNT).one("tbody", id="key-rows").text


def test_as_a_file(browser, alice):
    add(browser, file=f"{HERS} alice@laptop\n".encode())
    assert alice.keys.get().comment == "alice@laptop"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, "Paste a public key, or choose its file."),
        ({"file": b""}, "Paste a public key, or choose its file."),
        ({"line": HERS, "file": HERS.encode()}, "Paste the key or choose its file, not both."),
        ({"file": b"x" * 9000}, "This file is too large for a public key."),
        ({"file": b"\xff\xfe\x00\x01"}, "A public key line is ALGORITHM BASE64"),
        ({"file": PRIVATE.encode()}, "This is a private key"),
        ({"line": "ssh-ed25519 AAAA\x00"}, "Null characters are not allowed."),
        ({"line": "ssh-rsa " + "A" * 9000}, "The key is too long."),
        ({"line": f"{HERS}\n{HERS}"}, "A public key is one line of text"),
        ({"line": key_line("weak", "ssh-rsa", key_size=1024)}, "1024 bits is too weak"),
    ],
)
def test_what_does_not_fit_is_told_in_place_and_stays_filled_in(browser, sent, told):
    page = add(browser, **sent)
    assert (page.status, page.url) == (200, KEYS)
    assert told in page.text
    if "line" in sent and "\x00" not in sent["line"]:
        assert sent["line"] in page.one("textarea", id="id_line").text
    assert not PersonKey.objects.exists()


@pytest.mark.parametrize("extra", ["", "\x00"], ids=["refused by the act", "refused by the form"])
def test_a_private_key_is_not_shown_again(browser, extra):
    page = add(browser, PRIVATE + extra)
    assert "b3BlbnNzaC1r" not in page.html
    assert not PersonKey.objects.exists()
    assert "b3BlbnNzaC1r" not in str([event.detail for event in [last_event()]])


def test_ones_own_key_again(browser, alice):
    add(browser, HERS)
    assert "You have this key already." in add(browser, HERS).text
    assert events() == ["key.added", "!key.added"]


def test_a_comment_that_means_harm_is_text(browser):
    page = add(browser, f"{HERS} <script>alert(1)</script> \x1b[2J\u202eevil")
    assert page.all("th", scope="row")[-1].text == "<script>alert(1)</script> <U+001B>[2J<U+202E>evil"


def test_removing(browser, alice, bob):
    key = add_key(person=alice, text=HERS, actor=OPERATOR)
    action = f"{KEYS}{key.pk}/remove"
    browser.open(ACCOUNT)
    form = browser.page.form(action)
    assert "drop confirm" in {tag.attrs.get("class") for tag in browser.page.all("details")}, "it asks first"
    assert Browser(bob).client.post(action).status_code in (403, 404)
    page = browser.send(action)
    assert page.messages == [f"Key {FINGERPRINT} is removed."]
    assert FINGERPRINT not in page.one("main").text
    assert browser.client.post(action, form.fields).status_code == 404
    assert events() == ["key.added", "key.removed"]


# What to type


def test_whom_no_host_was_granted_sees_how_to_ask_the_gateway(charlie):
    listing, known, config = commands_under(Browser(charlie).open(ACCOUNT), "With your own ssh client")
    assert listing == "ssh -p 2222 charlie@broker.example"
    assert known == f"[broker.example]:2222 {keystore.gateway_lines()[0]}"
    assert config.split("\n") == [
        "Host proxy",
        "    User charlie",
        "    Hostname broker.example",
        "    Port 2222",
    ]


def test_examples_are_hosts_of_ones_own(alice, bob, web1, db1):
    grant(alice, web1, "terminal")
    grant(alice, db1, "forward", login="guest")
    commands = commands_under(Browser(alice).open(ACCOUNT), "With your own ssh client")
    assert commands[1:3] == [
        "ssh -p 2222 root@web1@broker.example",
        "ssh -J alice@broker.example:2222 guest@db1",
    ]
    assert "web1" not in Browser(bob).open(ACCOUNT).text


def test_at_port_22_nothing_names_the_port(alice, web1, settings):
    settings.BROKERD = replace(settings.BROKERD, ssh_public=Address("broker.example", 22))
    grant(alice, web1, "terminal", "sftp", "forward")
    page = Browser(alice).open(ACCOUNT)
    assert commands_under(page, "With your own ssh client")[:4] == [
        "ssh alice@broker.example",
        "ssh root@web1@broker.example",
        "ssh -J alice@broker.example root@web1",
        f"broker.example {keystore.gateway_lines()[0]}",
    ]
    commands = commands_under(Browser(alice).open("/hosts/web1/"), "With your own ssh client")
    assert "sftp root@web1@broker.example" in commands
    assert "ProxyJump alice@broker.example" in "\n".join(commands).split("\n    ")[3:4]


SHELL = "ssh -p 2222 root@web1@broker.example"
COMMAND = f"{SHELL} uptime"
SFTP = "sftp -P 2222 root@web1@broker.example"
JUMP = "ssh -J alice@broker.example:2222 root@web1"
CONFIG = "Host web1\n    HostName web1\n    User root\n    ProxyJump alice@broker.example:2222"
KNOWN = f"web1 {HOST_KEY}"


@pytest.mark.parametrize(
    ("capabilities", "shown"),
    [
        (["terminal"], [SHELL]),
        (["terminal", "exec"], [SHELL]),
        (["exec"], [COMMAND]),
        (["sftp"], [SFTP]),
        (["forward"], [JUMP, CONFIG, KNOWN]),
        (["terminal", "sftp", "forward"], [SHELL, SFTP, JUMP, CONFIG, KNOWN]),
    ],
)
def test_a_host_shows_what_one_may(alice, web1, capabilities, shown):
    Host.objects.filter(pk=web1.pk).update(host_keys=[HOST_KEY])
    grant(alice, web1, *capabilities)
    assert commands_under(Browser(alice).open("/hosts/web1/"), "With your own ssh client") == shown


def test_a_host_whose_keys_are_not_known_yet(alice, web1):
    grant(alice, web1, "forward")
    assert commands_under(Browser(alice).open("/hosts/web1/"), "With your own ssh client") == [JUMP, CONFIG]


def test_who_may_only_watch_is_shown_no_way(alice, web1):
    grant(alice, web1, "observe")
    assert "With your own ssh client" not in Browser(alice).open("/hosts/web1/").text


def test_the_hosts_default_login_where_one_may(alice, web1):
    grant(alice, web1, "terminal", login="admin")
    grant(alice, web1, "terminal", "forward", login="zoe")
    Host.objects.filter(pk=web1.pk).update(login="zoe")
    page = Browser(alice).open("/hosts/web1/")
    assert commands_under(page, "With your own ssh client")[0] == "ssh -p 2222 zoe@web1@broker.example"


def test_who_has_no_key_is_told_to_add_one(alice, web1):
    grant(alice, web1, "terminal")
    browser = Browser(alice)
    assert "You need a public key in your account first" in browser.open("/hosts/web1/").text
    add(browser, HERS)
    assert "You need a public key" not in browser.open("/hosts/web1/").text


def test_addresses_of_version_6_are_bracketed_where_a_port_follows(alice, web1, settings):
    settings.BROKERD = replace(settings.BROKERD, ssh_public=Address("2001:db8::7", 2222))
    grant(alice, web1, "forward")
    commands = commands_under(Browser(alice).open("/hosts/web1/"), "With your own ssh client")
    assert "ProxyJump alice@[2001:db8::7]:2222" in commands[1]
    assert commands[0] == "ssh -J alice@[2001:db8::7]:2222 root@web1"


def test_many_hosts_cost_no_query_each(alice, django_assert_max_num_queries):
    for number in range(30):
        make_host(f"host{number}", site="x")
    create_grant(person=alice, tag=("site", "x"), logins=["root"], capabilities=["exec"], actor=OPERATOR)
    browser = Browser(alice)
    with django_assert_max_num_queries(25):
        browser.open(ACCOUNT)


def test_the_admin_sees_all_keys_and_removes_by_the_act(admin, alice):
    key = add_key(person=alice, text=f"{HERS} alice@laptop", actor=OPERATOR)
    client = Browser(admin).client
    client.handler.enforce_csrf_checks = False
    where = "/admin/terminals/personkey/"
    assert FINGERPRINT in client.get(where).content.decode()
    assert client.get(f"{where}add/").status_code == 403
    assert HERS.split()[1] in client.get(f"{where}{key.pk}/change/").content.decode()
    assert client.post(f"{where}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    done = client.post(where, {"action": "remove", "_selected_action": [key.pk]}, follow=True).content.decode()
    assert f"Key {FINGERPRINT} of Alice is removed." in done or f"Key {FINGERPRINT} of alice is removed." in done
    assert (last_event().event, last_event().person) == ("key.removed", "admin")
    assert not PersonKey.objects.exists()


def test_a_person_without_a_password_may_have_keys(db):
    dora = create_person(name="dora", actor=OPERATOR)
    assert add_key(person=dora, text=HERS, actor=OPERATOR).person == dora
