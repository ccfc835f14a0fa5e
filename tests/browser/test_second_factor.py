"""Passkeys and codes in Chromium, with its own authenticator: set up on the way to a terminal, and used from then."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import complaints_of
from tests.browser.desk import Desk, Terminal
from tests.story.broker import PASSWORD, SCALE, Broker, running
from tests.story.machine import LOGIN, Machine, terminal_host

pytestmark = [pytest.mark.browser, pytest.mark.sshd]
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class Person:
    """charlie at a browser, at the portal's name: there are no passkeys for an address."""

    def __init__(self, context: BrowserContext, broker: Broker, web1: Machine) -> None:
        self.portal = f"http://localhost:{broker.web_port}"
        self.page = context.new_page()
        self.page.set_default_timeout(20_000 * SCALE)
        self.complaints = complaints_of(self.page)
        self.wanted = f"{self.portal}/hosts/{web1.name}/terminal?login={LOGIN}"
        devices = context.new_cdp_session(self.page)
        devices.send("WebAuthn.enable")
        self.key = devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})["authenticatorId"]
        self.devices = devices

    def log_in(self, name: str = "charlie") -> None:
        self.page.fill("#id_login", name)
        self.page.fill("#id_password", PASSWORD)
        self.press("Log in")

    def press(self, words: str) -> None:
        self.page.get_by_role("button", name=words, exact=True).click()

    def follow(self, words: str) -> None:
        self.page.get_by_role("link", name=words, exact=True).click()

    def is_live(self) -> None:
        """The terminal that was wanted, at its prompt."""
        terminal = Terminal(self.page)
        terminal.is_state("live")
        terminal.at_prompt()

    def prove(self) -> None:
        """The password once more."""
        self.page.fill("#id_password", PASSWORD)
        self.press("Confirm")


@pytest.fixture(scope="module")
def desk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A broker of its own: for what people set up here they would be asked in every other test."""
    folder = tmp_path_factory.mktemp("strict")
    with running(folder / "data") as broker, terminal_host(folder, "web1", broker) as web1:
        yield Desk(broker, web1, chromium)


@pytest.fixture(scope="module")
def strict(desk: Desk) -> None:
    """charlie and dora have a terminal on web1, and are in a group of which a second factor is required."""
    imports = "from django.contrib.auth.models import Group; from terminals.models import Person"
    rule = "from terminals.second_factor import set_second_factor; from tunnels.audit import OPERATOR"
    group = "group = Group.objects.create(name='strict')"
    join = "group.user_set.set(Person.objects.filter(username__in=['charlie', 'dora']))"
    desk.broker.do(imports, rule, group, join, "set_second_factor(group=group, required=True, actor=OPERATOR)")
    for person in ("charlie", "dora"):
        body = {"person": person, "host": "web1", "logins": [LOGIN], "capabilities": ["terminal"]}
        desk.broker.api("POST", "/grants", body, status=201)


@pytest.fixture
def page_of(desk: Desk, chromium: Browser, strict: None) -> Iterator[Person]:
    context = chromium.new_context(viewport={"width": 1000, "height": 640})
    person = Person(context, desk.broker, desk.machine)
    yield person
    context.close()
    assert [one for one in person.complaints if "Failed to load resource" not in one] == []  # a refusal by REST


def test_a_passkey_is_set_up_on_the_way_and_then_logs_in_alone(page_of: Person) -> None:
    page = page_of.page
    page.goto(page_of.wanted)
    page_of.log_in()
    expect(page.get_by_role("heading", name="A second factor is needed")).to_be_visible()
    page_of.follow("Add a passkey")
    page_of.prove()
    page.fill("#id_name", "charlie's laptop")
    page_of.press("Add passkey")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page_of.follow("I have kept them")
    page_of.is_live()

    log_out(page)
    page.goto(page_of.wanted)
    page_of.press("Log in with a passkey")
    page_of.is_live()

    log_out(page)
    page_of.log_in()
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page_of.press("Use a passkey")
    expect(page.get_by_role("link", name="Hosts")).to_be_visible()
    page.goto(f"{page_of.portal}/account/")
    expect(page.locator("#factor-rows")).to_contain_text("charlie's laptop")
    page.goto(page_of.wanted)
    page_of.is_live()


def test_a_passkey_of_another_device_is_refused_with_words(page_of: Person) -> None:
    page = page_of.page
    page.goto(f"{page_of.portal}/login/")
    page_of.press("Log in with a passkey")
    expect(page.get_by_role("alert").filter(has_text="no passkey for here")).to_be_visible()
    page_of.log_in()
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page_of.press("Use a passkey")
    expect(page.get_by_role("alert").filter(has_text="Nothing came of it")).to_be_visible()


def test_an_app_is_set_up_on_the_way(page_of: Person) -> None:
    page = page_of.page
    page.goto(page_of.wanted)
    page_of.log_in("dora")
    page_of.follow("Set up an authenticator app")
    page_of.prove()
    expect(page.get_by_role("img", name="QR code with the key below")).to_be_visible()
    seed = page.locator(".seed").inner_text()
    page.fill("#id_code", code_of(seed))
    page_of.press("Set up")
    page_of.follow("I have kept them")
    page_of.is_live()


def test_a_terminal_that_is_open_already_ends_and_says_how_to_go_on(page_of: Person, desk: Desk) -> None:
    """The rule comes while bob's terminal is open: it ends, and the page leads him through the confirmation."""
    body = {"person": "bob", "host": "web1", "logins": [LOGIN], "capabilities": ["terminal"]}
    desk.broker.api("POST", "/grants", body, status=201)
    page = page_of.page
    page.goto(page_of.wanted)
    page_of.log_in("bob")
    page_of.is_live()
    strict = "Group.objects.get(name='strict').user_set.add(Person.objects.get(username='bob'))"
    imports = "from django.contrib.auth.models import Group; from terminals.models import Person"
    desk.broker.do(imports, strict)
    expect(page.locator(".panel .words")).to_contain_text("A second factor is required here now")
    page_of.press("Open again")
    expect(page.locator(".panel .words")).to_contain_text("Confirm that it is you")
    page_of.press("Confirm it is you")
    expect(page.get_by_role("heading", name="A second factor is needed")).to_be_visible()


def code_of(seed: str) -> str:
    """Of a period of 30 s that does not end on the way to the broker."""
    if (left_s := 30 - time.time() % 30) < 10:
        time.sleep(left_s)
    return format_hotp_value(hotp_value(seed, int(time.time()) // 30))


def log_out(page: Page) -> None:
    page.goto(page.url.partition("/hosts/")[0].partition("/account/")[0] + "/account/")
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.locator("#id_login")).to_be_visible()
