"""One terminal and several people, each in a browser of their own: asked in, seen, handed the keyboard, sent away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import RESULTS, complaints_of
from tests.browser.desk import Desk, Terminal
from tests.story.broker import PASSWORD, SCALE, Broker, until
from tests.story.client import Client
from tests.story.machine import LOGIN, PROMPT, Machine, machine
from tests.story.screen import Screen

pytestmark = [pytest.mark.browser, pytest.mark.sshd]

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
OURS = {"person": "alice", "logins": [LOGIN], "capabilities": ["terminal", "share"]}
WATCHED = {"person": "dora", "logins": [LOGIN], "capabilities": ["observe"]}
SETTLED_MS = 600
"""What just appeared takes no click; see settling.js."""
TIMEOUT_MS = 20_000 * SCALE


@pytest.fixture(scope="module")
def office(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Where alice may share, and dora observe."""
    with machine(tmp_path_factory.mktemp("office"), "office1", broker) as made:
        made.bring_up(OURS, WATCHED)
        yield made


@pytest.fixture(scope="module")
def desk(broker: Broker, office: Machine, chromium: Browser) -> Desk:
    return Desk(broker, office, chromium)


@pytest.fixture
def people(desk: Desk) -> Iterator[Any]:
    """Browsers by who is logged in; "" for a stranger's. Nothing that a console calls an error goes unseen."""
    contexts: list[BrowserContext] = []
    found: list[list[str]] = []

    def browser(person: str, **options: Any) -> Page:
        settings: dict[str, Any] = {"viewport": DESK, **options}
        context = desk.context(person, **settings) if person else desk.chromium.new_context(**settings)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.broker.url)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        found.append(complaints_of(page))
        return page

    yield browser
    for context in contexts:
        context.close()
    wrong = [text for texts in found for text in texts if "Failed to load resource" not in text]
    assert wrong == []


@pytest.fixture
def alice(desk: Desk, people: Any) -> Iterator[Terminal]:
    terminal = Terminal(people("alice"))
    terminal.page.goto(f"{desk.broker.url}/hosts/{desk.machine.name}/terminal?login={LOGIN}")
    terminal.is_state("live")
    terminal.at_prompt()
    yield terminal
    desk.broker.call("DELETE", f"/api/v1/sessions/{session_of(terminal)}", None, "alice")


def session_of(terminal: Terminal) -> str:
    return until(lambda: terminal.page.url.partition("session=")[2], "the address names the session")


def shot(page: Page, name: str) -> None:
    """As it looks, on a desk and on a phone, light and dark."""
    RESULTS.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            page.wait_for_timeout(150)
            page.screenshot(path=RESULTS / f"{name}-{size['width']}-{scheme}.png")


@contextmanager
def people_of(page: Page) -> Iterator[Locator]:
    """The dialog about the people, open."""
    page.locator(".head [data-action=people]").click()
    page.wait_for_timeout(SETTLED_MS)
    yield page.locator("#people[open]")
    page.keyboard.press("Escape")


def share(page: Page, *, role: str = "watcher", guests: bool = False, person: str = "") -> str:
    """The link that the owner gets."""
    with people_of(page) as dialog:
        return fill_in(dialog, role=role, guests=guests, person=person)


def fill_in(panel: Locator, *, role: str = "watcher", guests: bool = False, person: str = "") -> str:
    if person:
        panel.get_by_label("With one person").check()
        panel.get_by_label("Name").fill(person)
    panel.get_by_label("They").select_option(role)
    if guests:
        panel.get_by_label("People without an account").check()
    panel.get_by_role("button", name="Share", exact=True).click()
    link = panel.get_by_label("The link")
    expect(link).to_be_visible()
    return link.input_value()


def ask_in(page: Page, link: str, guest: str = "") -> None:
    page.goto(link)
    if guest:
        page.get_by_label("Your name").fill(guest)
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Waiting for alice to let you in")).to_be_visible()


def admit(owner: Page, name: str) -> None:
    button = owner.get_by_role("button", name=f"Admit {name}")
    expect(button).to_be_visible()
    owner.wait_for_timeout(SETTLED_MS)
    button.click()


def hand_over(owner: Page, page: Page) -> None:
    """To bob, whose page is there."""
    expect(owner.locator(".person").filter(has_text="bob")).to_be_visible()
    with people_of(owner) as dialog:
        dialog.get_by_role("button", name="Hand over: bob").click()
        expect(dialog.get_by_role("button", name="Take back: bob")).to_be_visible()
    expect(page.get_by_role("button", name="Give back")).to_be_visible()


def joined(page: Page) -> Terminal:
    terminal = Terminal(page)
    terminal.is_state("live")
    return terminal


def names(terminal: Terminal) -> list[str]:
    return terminal.page.locator(".person .name").all_inner_texts()


def test_three_people_in_one_terminal(desk: Desk, alice: Terminal, people: Any) -> None:
    alice.run("echo be''fore")
    alice.shows("before")
    link = share(alice.page, role="driver", guests=True)
    assert "#" in link

    bobs, guests = people("bob"), people("")
    ask_in(bobs, link)
    assert bobs.url == f"{desk.broker.url}/join/"
    card = alice.page.locator(".request").filter(has_text="bob asks to join and type")
    expect(card).to_be_visible()
    shot(alice.page, "sharing-asking")
    shot(bobs, "sharing-waiting")
    alice.run("")
    alice.page.evaluate("text => navigator.clipboard.writeText(text)", "echo pas''ted\n\ny\n")
    alice.page.keyboard.press("Control+Shift+V")
    alice.page.locator("#paste [value=paste]").click()
    alice.shows("pas''ted")
    alice.press("Enter")
    alice.shows("pasted")
    alice.press("Control+C")
    assert bobs.locator(".pane").count() == 0, "no key and no paste lets anybody in"
    expect(card).to_be_visible()
    admit(alice.page, "bob")
    bob = joined(bobs)
    bob.shows("before")

    ask_in(guests, link, "Greta")
    shot(guests, "sharing-guest-waiting")
    admit(alice.page, "“Greta” (guest)")
    greta = joined(guests)
    greta.shows("before")
    for terminal in (alice, bob, greta):
        terminal.wait(lambda shown=terminal: len(names(shown)) == 3, "all three see each other")
    assert names(alice) == ["you", "bob", "Greta"]
    expect(greta.page.locator(".recorded")).to_be_visible()
    greta.type("typed by a guest")
    expect(greta.page.locator(".notices")).to_contain_text("what you type goes nowhere")

    bob.page.get_by_role("button", name="Ask to type").click()
    over = alice.page.get_by_role("button", name="Hand the keyboard over to bob")
    expect(over).to_be_visible()
    shot(alice.page, "sharing-three")
    shot(bob.page, "sharing-watching")
    alice.page.wait_for_timeout(SETTLED_MS)
    over.click()
    expect(bob.page.get_by_role("button", name="Give back")).to_be_visible()
    bob.run("clear; echo typed by b''ob; stty size")
    for terminal in (alice, bob, greta):
        terminal.shows("typed by bob")
    expect(alice.page.locator(".screen[data-boxed]")).to_be_visible()
    expect(bob.page.locator(".screen[data-boxed]")).to_have_count(0)
    alice.type("never")
    expect(alice.page.locator(".notices")).to_contain_text("You lent the keyboard")

    alice.press("Control+Shift+Y")
    expect(alice.page.locator(".screen[data-boxed]")).to_have_count(0)
    bob.type("also never")
    alice.run("echo back with al''ice")
    for terminal in (alice, bob, greta):
        terminal.shows("back with alice")
        assert "never" not in terminal.text
        assert "typed by a guest" not in terminal.text

    with people_of(alice.page) as dialog:
        dialog.get_by_role("button", name="Remove: “Greta” (guest)").click()
        expect(greta.page.locator(".panel")).to_contain_text("alice asked you to leave", ignore_case=True)
    greta.page.reload()
    expect(greta.page.locator(".panel")).to_contain_text("You may not be in this terminal any more.")
    alice.wait(lambda: names(alice) == ["you", "bob"], "the guest is gone")
    session = session_of(alice)
    seen = [(it["person"], it["event"]) for it in desk.broker.audit("session.joined") if it["session"] == session]
    assert len(seen) >= 2, seen


def test_a_reload_in_the_middle_changes_nothing(alice: Terminal, people: Any) -> None:
    """When the one who types goes away for a moment, the keyboard is the owner's; who lent it finds it lent."""
    link = share(alice.page, role="driver")
    bobs = people("bob")
    ask_in(bobs, link)
    admit(alice.page, "bob")
    bob = joined(bobs)
    hand_over(alice.page, bobs)
    bob.run("echo on''e")
    alice.shows("one")
    bobs.reload()
    bob.is_state("live")
    expect(alice.page.locator(".screen[data-boxed]")).to_have_count(0)
    alice.run("echo tw''o")
    bob.shows("two")
    hand_over(alice.page, bobs)
    alice.page.reload()
    alice.is_state("live")
    bob.run("echo thr''ee")
    alice.shows("three")
    alice.page.get_by_role("button", name="Take back").click()
    expect(alice.page.locator(".screen[data-boxed]")).to_have_count(0)
    alice.run("echo fo''ur")
    bob.shows("four")
    assert "one" in alice.text


def test_a_watch_link_never_types(desk: Desk, alice: Terminal, people: Any) -> None:
    link = share(alice.page)
    bobs = people("bob")
    ask_in(bobs, link)
    expect(alice.page.locator(".request")).to_contain_text("bob asks to watch")
    admit(alice.page, "bob")
    bob = joined(bobs)
    alice.wait(lambda: names(alice) == ["you", "bob"], "bob is here")
    bob.type("nothing of this\n")
    bob.press("Control+Shift+Y")
    expect(bob.page.locator(".mine button")).to_be_hidden()
    with people_of(alice.page) as dialog:
        expect(dialog.get_by_role("button", name="Remove: bob")).to_be_visible()
        assert dialog.get_by_role("button", name="Hand over: bob").count() == 0
    ticket = """async ([session, role]) => {
        const { admission } = JSON.parse(sessionStorage.getItem("brokerd.join"));
        const csrf = document.querySelector("meta[name=csrf-token]").content;
        const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf };
        const body = JSON.stringify({ role, admission });
        return (await fetch(`/api/v1/sessions/${session}/tickets`, { method: "POST", headers, body })).status;
    }"""
    assert bob.page.evaluate(ticket, [session_of(alice), "watcher"]) == 200
    assert bob.page.evaluate(ticket, [session_of(alice), "driver"]) == 403
    alice.run("echo sti''ll")
    bob.shows("still")
    assert "nothing of this" not in alice.text


def test_who_has_an_account_logs_in_first_and_comes_back(desk: Desk, alice: Terminal, people: Any) -> None:
    link = share(alice.page)
    page = people("")
    page.goto(link)
    page.get_by_role("link", name="Log in", exact=True).click()
    assert "#" not in page.url
    page.get_by_label("Name").fill("bob")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("You asked as bob to watch")).to_be_visible()
    admit(alice.page, "bob")
    joined(page)
    secret = link.partition("#")[2]
    log = desk.broker.log.read_text(errors="replace")
    assert "/join/" in log or log, "the log is there"
    assert secret not in log


def test_who_is_refused_reads_so(alice: Terminal, people: Any) -> None:
    link = share(alice.page)
    bobs = people("bob")
    ask_in(bobs, link)
    refuse = alice.page.get_by_role("button", name="Refuse bob")
    expect(refuse).to_be_visible()
    alice.page.wait_for_timeout(SETTLED_MS)
    refuse.click()
    expect(bobs.get_by_role("heading", name="alice did not let you in")).to_be_visible()
    shot(bobs, "sharing-refused")


def test_an_invited_person_finds_it_on_their_page(desk: Desk, alice: Terminal, people: Any) -> None:
    bobs = people("bob")
    bobs.goto(desk.broker.url)
    expect(bobs.get_by_text("Shared with you")).to_be_hidden()
    share(alice.page, person="bob")
    link = bobs.get_by_role("link", name="Join")
    expect(link).to_be_visible()  # without a reload
    shot(bobs, "sharing-invited")
    link.click()
    bob = joined(bobs)
    alice.run("echo hello b''ob")
    bob.shows("hello bob")
    alice.wait(lambda: names(alice) == ["you", "bob"], "bob is here")
    with people_of(alice.page) as dialog:
        dialog.get_by_role("button", name="Revoke the share: bob").click()
        expect(bobs.locator(".panel")).to_contain_text("You may not be in this terminal any more.")
    bobs.goto(desk.broker.url)
    expect(bobs.get_by_role("link", name="Join")).to_have_count(0)


def test_an_observer_is_seen_and_speaks(desk: Desk, alice: Terminal, people: Any) -> None:
    session = session_of(alice)
    doras, charlies = people("dora"), people("charlie")
    doras.goto(f"{desk.broker.url}/sessions/{session}/watch")
    dora = joined(doras)
    expect(alice.page.locator(".person[data-observes]")).to_contain_text("dora")
    expect(alice.page.locator(".notices")).to_contain_text("dora observes this terminal.")
    alice.page.set_viewport_size(PHONE)
    expect(alice.page.locator(".person[data-observes]")).to_be_in_viewport(ratio=1)
    shot(alice.page, "sharing-observed")
    dora.type("not for the shell")
    doras.locator(".head [data-action=say]").click()
    doras.keyboard.type("mind the disk")
    doras.keyboard.press("Enter")
    expect(alice.page.locator(".notices")).to_contain_text("dora: mind the disk")
    alice.run("echo unto''uched")
    dora.shows("untouched")
    assert "not for the shell" not in alice.text
    answer = charlies.goto(f"{desk.broker.url}/sessions/{session}/watch")
    assert answer is not None
    assert answer.status == 404


def test_a_session_that_was_opened_by_ssh(desk: Desk, people: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its owner sits at stock ssh, and shares from the page of the session."""
    client = Client(tmp_path_factory.mktemp("alice"), desk.broker, "alice")
    client.add_key()
    until(lambda: client.ssh("alice").returncode == 0, "the gateway knows the key")
    screen = Screen(client, f"{LOGIN}@{desk.machine.name}")
    try:
        screen.shows(PROMPT)
        rows = until(lambda: desk.broker.api("GET", "/sessions?live=1&mine=1", person="alice")["items"], "listed")
        [session] = [row["id"] for row in rows if row["way"] == "ssh"]
        page, bobs = people("alice"), people("bob")
        page.goto(f"{desk.broker.url}/sessions/{session}/")
        panel = page.locator("#session-people")
        expect(panel.locator(".here")).to_contain_text("by ssh")
        link = fill_in(panel, role="driver")
        ask_in(bobs, link)
        expect(panel).to_contain_text("bob asks to join and type")
        screen.shows(b"bob asks")
        shot(page, "sharing-session-page")
        panel.get_by_role("button", name="Admit: bob").click()
        bob = joined(bobs)
        expect(panel.get_by_role("button", name="Hand over: bob")).to_be_visible()
        page.wait_for_timeout(SETTLED_MS)
        panel.get_by_role("button", name="Hand over: bob").click()
        expect(bobs.get_by_role("button", name="Give back")).to_be_visible()
        bob.run("echo typed by b''ob")
        screen.shows(b"typed by bob")
        page.wait_for_timeout(SETTLED_MS)
        panel.get_by_role("button", name="Take back: bob").click()
        expect(bobs.get_by_role("button", name="Ask to type")).to_be_visible()
        screen.type(b"echo back at s''sh\r")
        screen.shows(b"back at ssh")
        bob.shows("back at ssh")
        expect(panel.get_by_role("button", name="Hand over: bob")).to_be_visible()
        page.wait_for_timeout(SETTLED_MS)
        panel.get_by_role("button", name="Remove: bob").click()
        expect(bobs.locator(".panel")).to_contain_text("alice asked you to leave", ignore_case=True)
        screen.type(b"exit\r")
    finally:
        screen.process.kill()
        screen.process.wait()


def test_without_the_capability_nothing_is_shared(desk: Desk, web1: Machine, people: Any) -> None:
    terminal = Terminal(people("alice"))
    terminal.page.goto(f"{desk.broker.url}/hosts/{web1.name}/terminal?login={LOGIN}")
    terminal.is_state("live")
    with people_of(terminal.page) as dialog:
        expect(dialog).to_contain_text(f"No grant lets you share a terminal as {LOGIN} on {web1.name}.")
        expect(dialog.get_by_role("button", name="Share", exact=True)).to_be_hidden()
    desk.broker.call("DELETE", f"/api/v1/sessions/{session_of(terminal)}", None, "alice")
