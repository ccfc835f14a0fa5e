"""The player on a session's page, in Debian's Chromium with the real portal: what a person sees and does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page

from terminals.models import Person, Session
from terminals.recording.store import path_of, root
from terminals.replay import build as building
from terminals.replay.worker import index
from tests.browser.conftest import RESULTS
from tests.chromium import chromium_running
from tests.people.helpers import events as audit_events
from tests.people.helpers import make_host
from tests.story.broker import until

from .helpers import What, record

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
CLIP = "forged clipboard"
HOSTILE = (
    "\x1b]0;forged title\x07\x1b]2;forged title\x07\x1b]52;c;Zm9yZ2VkIGNsaXBib2FyZA==\x07\x1b]52;c;?\x07"
    "\x1b]8;;https://evil.example/\x07click me\x1b]8;;\x07 http://evil.example/plain\r\n"
    "\x1b[c\x1b[>c\x1b[6n\x1b[5n\x1b[?6n\x1bP$qm\x1b\\\x1b]10;?\x07\x1b]11;#ff0000\x07\x1b]4;1;?\x07\x1b[18t\x1b[21t"
    "\x1b[?1000h\x1b[?1003h\x1b[?1006h\x1b[?1004h\x1b[?2026h\x1b[2147483647b\x1b[2147483647L\x1b[2147483647S"
    "<script>window.forged = 1</script><img src=x onerror='window.forged = 1'>\r\nend of it\r\n"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Django's own database calls are made from this thread, in which Playwright keeps a loop running.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with chromium_running() as browser:
        yield browser
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def open_page(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """Opens the page of a session as a person; anything that the console calls an error fails the test."""
    contexts, complaints = [], []

    def open_(person: Person, session: Session, hash_: str = "", *, ready: bool = True, **options: Any) -> Page:
        client = Client()
        client.force_login(person)
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server.url)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{live_server.url}/sessions/{session.pk}/{hash_}")
        if ready:
            page.wait_for_selector("#player[data-state=ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def shown(page: Page) -> str:
    return str(page.evaluate("brokerdPlayer.text()"))


def shows(page: Page, text: str) -> None:
    wait(page, f"brokerdPlayer.text().includes({json.dumps(text)})")


def wait(page: Page, condition: str) -> None:
    """Asked from here: a predicate in the page would be eval, which its CSP bars."""
    until(lambda: page.evaluate(condition), condition, 60)


def time_of(page: Page) -> float:
    return float(page.get_attribute("#player", "data-time") or "nan")


def is_at(page: Page, time: float) -> None:
    wait(page, f"Math.abs(document.querySelector('#player').dataset.time - {time}) < 0.1")


NOTES_WHETHER_IT_PLAYS = """() => {
  const { dataset } = document.querySelector("[data-part=play]");
  window.played = [];
  const note = () => dataset.playing === played.at(-1) || played.push(dataset.playing);
  new MutationObserver(note).observe(document.querySelector("[data-part=play]"), { attributes: true });
}"""


def work() -> list[What]:
    """Ten minutes of work with pauses, somebody who joins, an editor, another size."""
    happened: list[What] = [(0.1, "o", "\x1b[32mroot@web1\x1b[0m:~# ")]
    for n in range(120):
        at = 1.0 + n * 0.5
        happened.append((at, "o", f"step {n:03} \x1b[3{n % 8}mcompiling module{n}\x1b[0m ... done\r\n"))
    happened += [
        (20.2, "m", "bob joined as watcher"),
        (62.0, "o", "\x1b[?1049h\x1b[2J\x1b[H\x1b[7m editing config \x1b[0m\r\n\r\n  listen = 0.0.0.0:8443"),
        (300.0, "o", "\x1b[10;3Hthe needle in the editor"),
        (310.0, "r", "100x30"),
        (311.0, "o", "\x1b[?1049l\x1b[32mroot@web1\x1b[0m:~# systemctl restart app\r\n"),
        (400.0, "m", "12 bytes of output are not recorded: the disk is full"),
        (599.0, "o", "all is well\r\n"),
        (600.0, "o", "logout\r\n"),
    ]
    return sorted(happened)


@pytest.fixture
def hers(alice: Person, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(building, "KEY_SIZE", 2000)
    return record(alice, make_host("web1"), work(), frame_size=1500)


def test_it_opens_at_the_beginning_and_at_a_moment(open_page, hers, alice):
    page = open_page(alice, hers)
    assert shown(page).strip() == ""
    assert page.inner_text("[data-part=clock]") == "0:00 / 10:00"
    page = open_page(alice, hers, "#t=20.7")
    assert "step 039" in shown(page)
    assert "step 040" not in shown(page)
    page.evaluate("location.hash = '#t=305'")
    shows(page, "the needle in the editor")
    assert "step 039" not in shown(page)
    assert audit_events().count("recording.viewed") == 2


def test_one_request_opens_it(open_page, hers, alice):
    page = open_page(alice, hers, "#t=20.7")
    assert "step 039" in shown(page)
    asked = page.evaluate("performance.getEntriesByType('resource').map(({name}) => name)")
    assert [name.rpartition("/sessions/")[2] for name in asked if "/api/" in name] == [f"{hers.pk}/replay?at=20.7"]


def test_seeking_shows_what_was_there(open_page, hers, alice):
    page = open_page(alice, hers)
    for time, text, absent in [
        (61.9, "step 119", "editing"),
        (63, "editing config", "step"),
        (10, "step 018", "step 019"),
        (312, "systemctl restart", "needle"),
        (61.9, "step 119", "systemctl"),
        (600, "logout", "needle"),
        (0, "", "root"),
    ]:
        page.evaluate("time => brokerdPlayer.seek(time)", time)
        assert text in shown(page), time
        assert absent not in shown(page), time


def test_it_plays_by_the_keyboard_and_skips_what_is_idle(open_page, hers, alice):
    page = open_page(alice, hers, "#t=60.0")
    page.select_option("[data-part=speed]", "8")
    page.locator("h1").click()
    page.evaluate(NOTES_WHETHER_IT_PLAYS)
    page.keyboard.press("Space")
    shows(page, "logout")  # nine minutes, of which hardly anything is not idle
    wait(page, "String(played) === 'true,false'")
    assert time_of(page) == 600
    page.keyboard.press("ArrowLeft")
    is_at(page, 595)
    page.keyboard.press("/")
    page.keyboard.type(" k")  # into the search field
    assert page.input_value("[data-part=query]") == " k"
    assert page.get_attribute("[data-part=play]", "data-playing") == "false"


def test_search_lists_hits_and_jumps(open_page, hers, alice):
    page = open_page(alice, hers)
    page.fill("[data-part=query]", "NEEDLE")
    page.wait_for_selector("[data-part=hits] button")
    assert page.inner_text("[data-part=found]") == "1 line"
    page.click("[data-part=hits] button")
    shows(page, "the needle in the editor")
    is_at(page, 300)
    page.fill("[data-part=query]", "module")
    wait(page, "document.querySelectorAll('[data-part=hits] button').length === 120")
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / "player-search.png", full_page=True)
    page.fill("[data-part=query]", "nowhere at all")
    wait(page, "document.querySelector('[data-part=found]').textContent === 'Nothing found'")


def test_what_happened_is_listed(open_page, hers, alice):
    page = open_page(alice, hers)
    page.click("[data-part=happenings] summary")
    assert page.locator("[data-part=happened] .line").all_inner_texts() == [
        "bob joined as watcher",
        "the window became 100 × 30",
        "12 bytes of output are not recorded: the disk is full",
    ]
    page.click("[data-part=happened] button >> nth=1")
    wait(page, "Number(document.querySelector('#player').dataset.time) > 309")
    assert page.locator(".player .mark").count() == 2
    assert page.locator(".player .idle").count() >= 4


def test_a_link_to_the_moment_is_copied(open_page, hers, alice):
    page = open_page(alice, hers, "#t=123.4")
    page.click("[data-part=link]")
    wait(page, "document.querySelector('[data-part=said]').textContent === 'Link copied.'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url
    assert copied.endswith(f"/sessions/{hers.pk}/#t=123.4")


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # the server of tests is WSGI's
def test_the_download_comes_as_a_file(open_page, hers, alice):
    page = open_page(alice, hers)
    with page.expect_download() as download:
        page.click("a[download]")
    assert download.value.suggested_filename.startswith("root-web1-")
    assert download.value.suggested_filename.endswith(".cast")


def test_a_hostile_recording_does_nothing(open_page, alice):
    session = record(
        alice,
        make_host("web1"),
        [(0.5, "o", HOSTILE), (1.0, "m", "<b>mark</b>\u202e"), (2.0, "r", "99999x40"), (2.5, "r", "0x0")],
    )
    page = open_page(alice, session, "#t=2.2")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    title = page.title()
    shows(page, "end of it")
    shows(page, "<script>")
    page.evaluate("navigator.clipboard.writeText('mine')")
    page.evaluate("brokerdPlayer.seek(0)")
    page.evaluate("brokerdPlayer.seek(2.2)")
    page.locator(".xterm-screen").click(position={"x": 20, "y": 8})
    page.keyboard.type("typed into it")
    page.click("[data-part=happenings] summary")
    assert page.locator("[data-part=happened] .line").first.inner_text() == "<b>mark</b>‹202E›"
    assert page.title() == title
    assert page.evaluate("window.forged") is None
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    assert len(page.context.pages) == 1
    assert "typed" not in shown(page)
    assert [one for one in asked if "GET" not in one or "evil" in one] == []


def test_it_waits_until_it_is_prepared(open_page, alice):
    session = record(alice, make_host("web1"), indexed=False)
    page = open_page(alice, session, ready=False)
    wait(page, "document.querySelector('[data-part=state]').textContent.includes('being prepared')")
    index(path_of(session.pk, session.started_at), root(), session.pk)
    page.wait_for_selector("#player[data-state=ready]")


def test_one_that_cannot_be_played_says_why(open_page, alice, monkeypatch):
    monkeypatch.setattr(building, "PROCESSOR_S", -1000)
    page = open_page(alice, record(alice, make_host("web1")), ready=False)
    wait(page, "document.querySelector('[data-part=state]').textContent.includes('cannot be played here')")
    assert not page.is_visible(".controls")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_it_fits_the_window(open_page, hers, alice, width, height, scheme):
    page = open_page(alice, hers, "#t=305", viewport={"width": width, "height": height}, color_scheme=scheme)
    wait(page, "document.documentElement.scrollWidth <= window.innerWidth")

    def fits() -> bool:
        box = page.locator(".xterm-screen").bounding_box()
        assert box
        return box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] <= height * 0.71

    until(fits, "the screen fits", 60)
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / f"player-{width}-{scheme}.png", full_page=True)
