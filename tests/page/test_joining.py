"""The page that a link to a shared terminal leads to, and that of somebody who watches."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Page, expect

from .fake_broker import Broker, Session, person, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SECRET = "s3cret-of-the-link"
GUEST_NAME_MISSING = (422, {"title": "Invalid", "detail": "name: say who you are", "status": 422})
LOGIN_NEEDED = (401, {"title": "Unauthorized", "detail": "log in to join this terminal", "status": 401})
UNKNOWN = (404, {"title": "Not found", "detail": "this link is not valid (any more)", "status": 404})


def answer(session: Session, state: str = "asking", **more: object) -> dict:
    about = {"session": session.id, "owner": "alice", "host": "web1", "login": "root", "role": "watcher"}
    return {"ask": "a1", "key": "k1", "state": state, **about, "as": "bob", "admission": None, **more}


async def follow_link(page: Page, broker: Broker) -> None:
    await page.goto(f"http://127.0.0.1:{broker.port}/join/#{SECRET}")


def asked(broker: Broker) -> list[dict]:
    return [body for _, path, body in broker.requests if path == "/shares/ask"]


def shared(broker: Broker) -> Session:
    session = broker.open_session("web1")
    session.role, session.size = "watcher", (80, 24)
    session.output += b"what was there before\r\n"
    return session


async def shows(page: Page, text: str) -> None:
    await page.wait_for_function("text => brokerdScreen.text().includes(text)", arg=text)


async def is_seen_whole(page: Page) -> None:
    """What is shown of the terminal fills a good part of the window, and nothing of it is cut."""
    await expect(page.locator(".xterm-screen")).to_be_in_viewport(ratio=1)
    box, size = await page.locator(".screen").bounding_box(), page.viewport_size
    assert box and size
    assert box["height"] > size["height"] * 0.8


async def test_the_secret_leaves_the_address_at_once(page: Page, broker: Broker) -> None:
    broker.joiner, broker.joining = "bob", answer(shared(broker))
    await follow_link(page, broker)
    await expect(page.get_by_role("heading", name="Waiting for alice to let you in")).to_be_visible()
    await expect(page).to_have_url(f"http://127.0.0.1:{broker.port}/join/")
    assert SECRET not in await page.content()
    assert SECRET not in await page.title()
    assert asked(broker) == [{"secret": SECRET}]
    paths = [path for _, path, _ in broker.requests]
    assert not any(SECRET in path for path in paths)
    await page.go_back()
    await page.go_forward()
    assert SECRET not in page.url


async def test_from_asking_to_the_terminal_without_a_reload(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.joiner, broker.joining = "bob", answer(session)
    await follow_link(page, broker)
    await expect(page.get_by_text("You asked as bob to watch, on web1.")).to_be_visible()
    await page.evaluate("window.isSame = true")
    assert session.socket is None
    broker.joining = answer(session, "admitted", admission="let-in")
    await page.wait_for_selector("body[data-state=live]")
    await shows(page, "what was there before")
    assert await page.evaluate("window.isSame"), "without a reload"
    await is_seen_whole(page)
    tickets = [body for _, path, body in broker.requests if path.endswith("/tickets")]
    assert tickets == [{"role": "watcher", "admission": "let-in"}]
    polls = [body for _, path, body in broker.requests if path == "/shares/asks/a1"]
    assert polls[-1] == {"key": "k1"}
    await page.keyboard.type("x")
    session.print(b"goes on")
    await shows(page, "goes on")
    assert bytes(session.typed) == b""


async def test_a_reload_and_a_lost_connection_come_back_by_the_admission(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.joiner, broker.joining = "bob", answer(session, "admitted", admission="let-in")
    await follow_link(page, broker)
    await page.wait_for_selector("body[data-state=live]")
    session.socket.cut()
    await wait_until(lambda: len(broker.attaches) == 2, "attached again")
    await page.wait_for_selector("body[data-state=live]")
    await page.reload()
    await page.wait_for_selector("body[data-state=live]")
    assert len(asked(broker)) == 1
    kept = json.loads(await page.evaluate("sessionStorage.getItem('brokerd.join')"))
    assert kept["admission"] == "let-in"
    assert await page.evaluate("localStorage.length") == 0


async def test_a_joiner_who_types_asks_for_the_keyboard_again_when_cut_off(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.joiner = "bob"
    broker.joining = answer(session, "admitted", admission="let-in", role="driver")
    await follow_link(page, broker)
    await page.wait_for_selector("body[data-state=live]")
    await wait_until(lambda: session.socket is not None, "attached")
    session.turn("driver", 80, 24)
    session.show_people(person("v1", "bob", "driver", may_drive=True), person("v2", "alice", is_owner=True))
    await page.get_by_role("button", name="Give back").wait_for()
    await wait_until(lambda: session.resizes, "its size")
    cols, rows = session.resizes[-1]
    assert cols > 80
    assert rows > 25, "it fills the window"
    await page.keyboard.type("ab")
    await wait_until(lambda: bytes(session.typed) == b"ab", "typed")
    session.socket.cut()
    await wait_until(lambda: len(broker.attaches) == 2, "attached again")
    tickets = [body["role"] for _, path, body in broker.requests if path.endswith("/tickets")]
    assert tickets == ["watcher", "driver"]


async def test_without_a_login_a_guest_says_who_they_are(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.problems.append(GUEST_NAME_MISSING)
    await follow_link(page, broker)
    name = page.get_by_label("Your name")
    await expect(name).to_be_focused()
    assert await page.get_by_role("link", name="Log in instead").get_attribute("href") == "/login/?next=/join/"
    broker.joining = answer(session, **{"as": "Greta (guest)"})
    await name.fill("Greta")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("You asked as Greta (guest) to watch, on web1.")).to_be_visible()
    assert asked(broker) == [{"secret": SECRET}, {"secret": SECRET, "name": "Greta"}]
    broker.joining = answer(session, "admitted", admission="let-in")
    await page.wait_for_selector("body[data-state=live]")
    assert await page.locator("#bar .back").count() == 0, "a guest has no page of hosts"
    await page.get_by_role("button", name="Larger text").click()
    session.print(b"larger")
    await shows(page, "larger")
    await page.wait_for_timeout(800)  # by when settings would have been saved
    assert not any(path == "/preferences" for _, path, _ in broker.requests)


async def test_a_name_that_is_refused_can_be_mended(page: Page, broker: Broker) -> None:
    broker.problems += [GUEST_NAME_MISSING, (422, {"title": "Invalid", "detail": "name: no", "status": 422})]
    await follow_link(page, broker)
    await page.get_by_label("Your name").fill("<b>")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="name: no")).to_be_visible()
    assert await page.get_by_label("Your name").input_value() == "<b>"


async def test_where_guests_may_not_come_the_login_comes_back_here(page: Page, broker: Broker) -> None:
    broker.problems.append(LOGIN_NEEDED)
    await follow_link(page, broker)
    login = page.get_by_role("link", name="Log in", exact=True)
    await expect(login).to_be_visible()
    assert await login.get_attribute("href") == "/login/?next=/join/"
    broker.joiner, broker.joining = "bob", answer(shared(broker))
    await page.goto(f"http://127.0.0.1:{broker.port}/login/?next=/join/")
    await page.goto(f"http://127.0.0.1:{broker.port}/join/")
    await expect(page.get_by_role("heading", name="Waiting for alice")).to_be_visible()
    assert asked(broker)[-1] == {"secret": SECRET}


async def test_refused_says_so_and_asks_again(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.joiner, broker.joining = "bob", answer(session, "refused")
    await follow_link(page, broker)
    await expect(page.get_by_role("heading", name="alice did not let you in")).to_be_visible()
    broker.joining = answer(session)
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.get_by_role("heading", name="Waiting for alice")).to_be_visible()


async def test_over_and_unknown_are_told(page: Page, broker: Broker) -> None:
    broker.joiner, broker.joining = "bob", answer(shared(broker), "ended")
    await follow_link(page, broker)
    await expect(page.get_by_role("heading", name="This is over")).to_be_visible()
    broker.joining = {}
    broker.problems.append(UNKNOWN)
    await page.goto("about:blank")
    await follow_link(page, broker)
    await expect(page.get_by_role("heading", name="This link does not work")).to_be_visible()


async def test_without_a_link_there_is_nothing_to_ask(page: Page, broker: Broker) -> None:
    await page.goto(f"http://127.0.0.1:{broker.port}/join/")
    await expect(page.get_by_text("Open the link that you were given")).to_be_visible()
    assert broker.requests == []


async def test_waiting_outlives_a_broker_that_does_not_answer(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.joiner, broker.joining = "bob", answer(session)
    await follow_link(page, broker)
    await expect(page.get_by_role("heading", name="Waiting for alice")).to_be_visible()
    broker.problems.append((503, {"title": "Unavailable", "detail": "not now", "status": 503}))
    await wait_until(lambda: not broker.problems, "the broker did not answer")
    broker.joining = answer(session, "admitted", admission="let-in")
    await page.wait_for_selector("body[data-state=live]")


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (4403, "alice asked you to leave", "You may not be in this terminal any more."),
        (4411, "nobody came back within 600 s", "A limit was reached"),
        (1000, "", "The terminal session on web1 was ended."),
    ],
)
async def test_an_end_offers_a_guest_only_what_they_can_do(
    page: Page, broker: Broker, code: int, reason: str, words: str
) -> None:
    session = shared(broker)
    broker.joining = answer(session, "admitted", admission="let-in")
    await follow_link(page, broker)
    await page.wait_for_selector("body[data-state=live]")
    await wait_until(lambda: session.socket is not None, "attached")
    session.socket.send({"type": "closing", "reason": reason, "retry_after": None})
    session.socket.close(code, reason)
    await page.wait_for_selector("body[data-state=ended]")
    panel = page.locator(".panel")
    await expect(panel).to_contain_text(words)
    if reason:
        await expect(panel).to_contain_text(reason[1:])
    assert await panel.get_by_role("button").count() == 0, "nothing to open again, and nowhere to go back to"


async def test_an_admission_that_is_gone_is_told(page: Page, broker: Broker) -> None:
    session = shared(broker)
    broker.joiner, broker.joining = "bob", answer(session, "admitted", admission="let-in")
    await follow_link(page, broker)
    await page.wait_for_selector("body[data-state=live]")
    broker.problems += [(404, {"title": "Not found", "detail": "this admission is not valid", "status": 404})]
    session.socket.cut()
    await expect(page.locator(".panel")).to_contain_text("You may not be in this terminal any more.")
    await expect(page.locator(".panel").get_by_role("button")).to_have_text(["Back to hosts"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_it_fits_small_screens(page: Page, broker: Broker, scheme: str, width: int) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": 740})
    broker.problems.append(GUEST_NAME_MISSING)
    await follow_link(page, broker)
    await expect(page.get_by_label("Your name")).to_be_in_viewport(ratio=1)
    await expect(page.get_by_role("button", name="Ask to watch")).to_be_in_viewport(ratio=1)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_an_observer_watches_from_a_page_of_their_own(page: Page, broker: Broker) -> None:
    session = shared(broker)
    await page.goto(f"http://127.0.0.1:{broker.port}/sessions/{session.id}/watch")
    await page.wait_for_selector("body[data-state=live]")
    await wait_until(lambda: session.socket is not None, "attached")
    session.show_people(person("v1", "carol", via="observe"), person("v2", "alice", "driver", is_owner=True))
    await page.locator(".person").nth(1).wait_for()
    assert [body for _, path, body in broker.requests if path.endswith("/tickets")] == [{"role": "watcher"}]
    await is_seen_whole(page)
    assert (await page.evaluate("location.href")).endswith("/watch")
    await page.locator("[data-action=say]").click()
    await page.keyboard.type("who are you?")
    await page.keyboard.press("Enter")
    await wait_until(lambda: session.acts == [("POST", "/say", {"text": "who are you?"})], "said")
    await page.keyboard.press("Control+Shift+O")
    await page.keyboard.press("Control+Shift+E")
    session.print(b"still one")
    await shows(page, "still one")
    assert await page.locator(".pane").count() == 1
