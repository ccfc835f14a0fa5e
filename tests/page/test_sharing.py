"""The people in a terminal: who is seen, what they ask, who types, and how a watcher's screen looks."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from .conftest import Terminal
from .fake_broker import Broker, Session, asking, person, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SIZES = pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desk", "phone"])
ALICE = person("v1", "alice", "driver", is_owner=True, may_drive=True, via="owner")
BOB = person("v2", "bob", may_drive=True)
SETTLED_MS = 600
"""What just appeared takes no click; see settling.js."""


@pytest.fixture(autouse=True)
def may_share(broker: Broker) -> None:
    broker.hosts["web1"].logins = {"root": ["terminal", "share"]}


def within(terminal: Terminal, selector: str) -> Locator:
    return terminal.page.locator(f".pane[data-active] {selector}")


async def request_of(terminal: Terminal, words: str) -> Locator:
    found = within(terminal, ".request").filter(has_text=words)
    await found.wait_for()
    return found


async def watch(terminal: Terminal, *, cols: int = 80, rows: int = 24, **self: object) -> Session:
    """Open the page with a terminal that somebody else drives."""
    session = terminal.broker.open_session("web1")
    session.role, session.size = "watcher", (cols, rows)
    await terminal.page.goto(f"{terminal.broker.url}&session={session.id}")
    await terminal.is_state("live")
    await wait_until(lambda: session.socket is not None, "attached")
    session.show_people(person("v1", "alice", **self), person("v2", "bob", "driver"))
    await expect(within(terminal, ".person")).to_have_count(2)
    return session


# Who is here


async def test_alone_nobody_is_named(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE)
    session.print(b"ready")
    await terminal.shows("ready")
    await expect(within(terminal, ".company")).to_be_hidden()
    await expect(within(terminal, ".mine")).to_be_hidden()


@SIZES
async def test_everybody_is_seen_at_any_size(terminal: Terminal, size: tuple[int, int]) -> None:
    await terminal.page.set_viewport_size({"width": size[0], "height": size[1]})
    session = await terminal.open()
    guest = person("v3", "Greta", is_guest=True)
    carol = person("v4", "carol", via="observe")
    session.show_people(ALICE, BOB, guest, carol)
    people = within(terminal, ".person")
    await expect(people).to_have_count(4)
    assert [await one.get_attribute("data-role") for one in await people.all()] == ["driver", *["watcher"] * 3]
    observer = people.filter(has_text="carol")
    assert await observer.get_attribute("title") == "carol observes"
    assert "observes" in await observer.inner_text()
    box = await observer.bounding_box()
    assert box is not None
    assert 0 <= box["x"] < box["x"] + box["width"] <= size[0], "the person does not see that they are watched"
    assert await within(terminal, ".count").inner_text() == "4"
    assert "guest" in await people.filter(has_text="Greta").inner_text()


@SIZES
async def test_a_crowd_hides_no_observer(terminal: Terminal, size: tuple[int, int]) -> None:
    await terminal.page.set_viewport_size({"width": size[0], "height": size[1]})
    session = await terminal.open()
    crowd = [person(f"w{number}", f"watcher-{number}") for number in range(30)]
    session.show_people(ALICE, *crowd, person("v4", "carol", via="observe"))
    observer = within(terminal, ".person").filter(has_text="carol")
    box = await observer.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= size[0]
    assert await terminal.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_who_comes_and_goes_is_told(terminal: Terminal) -> None:
    session = await terminal.open()
    notices = within(terminal, ".notices")
    session.show_people(ALICE)
    session.show_people(ALICE, BOB)
    await expect(notices).to_contain_text("bob joined and watches.")
    session.show_people(ALICE, BOB, person("v3", "Greta", is_guest=True))
    await expect(notices).to_contain_text("“Greta” (guest) joined and watches.")
    session.show_people(ALICE, person("v3", "Greta", is_guest=True), person("v4", "carol", via="observe"))
    await expect(notices).to_contain_text("bob left.")
    await expect(notices).to_contain_text("carol observes this terminal.")


async def test_a_name_is_text_and_a_guest_stays_one(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE)
    hostile = "<img src=x onerror=alert(1)>\u202e(owner)"
    session.show_people(ALICE, person("v3", hostile, is_guest=True), asking=(asking("a1", hostile, is_guest=True),))
    guest = within(terminal, ".person").nth(1)
    await guest.wait_for()
    assert await terminal.page.locator(".pane img").count() == 0
    assert "\u202e" not in await guest.inner_text()
    assert "guest" in await guest.inner_text()
    words = await (await request_of(terminal, "asks to watch")).inner_text()
    assert "(guest)" in words
    assert "\u202e" not in words


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_it_is_said_whether_this_is_recorded(terminal: Terminal, is_recorded: bool) -> None:
    session = terminal.broker.open_session("web1")
    session.recorded = is_recorded
    await terminal.page.goto(f"{terminal.broker.url}&session={session.id}")
    await terminal.is_state("live")
    session.print(b"ready")
    await terminal.shows("ready")
    await expect(within(terminal, ".recorded")).to_be_visible(visible=is_recorded)


async def test_without_a_connection_nobody_is_shown(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE, BOB, asking=(asking("a1", "dave"),))
    await request_of(terminal, "dave")
    terminal.broker.is_down = True
    session.socket.cut()
    await terminal.is_state("reconnecting")
    await expect(within(terminal, ".request")).to_have_count(0)
    await expect(within(terminal, ".company")).to_be_hidden()


# Asking


async def test_typing_admits_nobody(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE, asking=(asking("a1", "bob"),))
    await request_of(terminal, "bob asks to watch")
    await terminal.page.wait_for_timeout(SETTLED_MS)
    await terminal.page.keyboard.type("y\n \t\n")
    await wait_until(lambda: bytes(session.typed) == b"y\r \t\r", "every key goes to the shell")
    assert session.acts == []


@pytest.mark.parametrize(("button", "answer"), [("Admit bob", True), ("Refuse bob", False)])
async def test_a_click_answers_and_the_terminal_keeps_the_keyboard(
    terminal: Terminal, button: str, answer: bool
) -> None:
    session = await terminal.open()
    session.show_people(ALICE, asking=(asking("a1", "bob", "driver"),))
    await request_of(terminal, "bob asks to join and type")
    await terminal.page.wait_for_timeout(SETTLED_MS)
    await terminal.page.get_by_role("button", name=button).click()
    await wait_until(lambda: session.acts == [("POST", "/asks/a1", {"admit": answer})], "the answer")
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "typing goes on")


async def test_what_just_moved_under_the_pointer_is_not_clicked(terminal: Terminal) -> None:
    await terminal.page.clock.install()
    session = await terminal.open()
    await terminal.pause(session)  # however long it takes to click, it is too soon
    session.show_people(ALICE, asking=(asking("a1", "bob"), asking("a2", "mallory")))
    await request_of(terminal, "mallory")
    await terminal.page.clock.run_for(SETTLED_MS)
    box = await terminal.page.get_by_role("button", name="Admit bob").bounding_box()
    assert box is not None
    session.show_people(ALICE, asking=(asking("a2", "mallory"),))
    await expect(within(terminal, ".request")).to_have_count(1)
    await terminal.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: session.typed, "what came after the click")
    assert session.acts == []


async def test_nor_in_the_dialog(terminal: Terminal) -> None:
    await terminal.page.clock.install()
    session = await terminal.open()
    await terminal.pause(session)
    session.show_people(ALICE, asking=(asking("a1", "bob"), asking("a2", "mallory")))
    await request_of(terminal, "mallory")
    dialog = await people_dialog(terminal)
    await terminal.page.clock.run_for(SETTLED_MS)
    box = await dialog.get_by_role("button", name="Admit: bob").bounding_box()
    assert box is not None
    session.show_people(ALICE, asking=(asking("a2", "mallory"),))
    await expect(dialog.locator(".asking li")).to_have_count(1)
    await terminal.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await terminal.page.clock.run_for(SETTLED_MS)
    assert session.acts == []
    await dialog.get_by_role("button", name="Admit: mallory").click()
    await wait_until(lambda: session.acts == [("POST", "/asks/a2", {"admit": True})], "who is meant")


async def test_the_keyboard_reaches_the_answer(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE, asking=(asking("a1", "bob"),))
    await request_of(terminal, "bob")
    await terminal.page.keyboard.press("Control+Shift+S")
    await terminal.page.wait_for_selector("#people[open]")
    await terminal.page.keyboard.press("Enter")
    assert session.acts == [], "opening the dialog leaves no answer under Enter"
    admit = terminal.page.locator("#people").get_by_role("button", name="Admit: bob")
    for _ in range(4):
        await terminal.page.keyboard.press("Tab")
        if await admit.evaluate("button => button === document.activeElement"):
            break
    await terminal.page.keyboard.press("Enter")
    await wait_until(lambda: session.acts == [("POST", "/asks/a1", {"admit": True})], "the answer")
    await terminal.page.keyboard.press("Escape")
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "the keyboard is back in the terminal")


async def test_only_the_owner_is_asked(terminal: Terminal) -> None:
    session = await watch(terminal)
    session.show_people(person("v1", "alice"), person("v2", "bob", "driver", wants=True), asking=(asking("a", "dave"),))
    session.print(b"after")
    await terminal.shows("after")
    await expect(within(terminal, ".request")).to_have_count(0)


async def test_an_answer_that_fails_is_told(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE, asking=(asking("a1", "bob"),))
    await request_of(terminal, "bob")
    await terminal.page.wait_for_timeout(SETTLED_MS)
    terminal.broker.problems.append((404, {"title": "Not found", "detail": "bob does not ask any more", "status": 404}))
    await terminal.page.get_by_role("button", name="Admit bob").click()
    await expect(within(terminal, ".notices")).to_contain_text("bob does not ask any more")


# The keyboard


async def test_who_wants_the_keyboard_gets_it_or_not(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE, {**BOB, "wants": True})
    await request_of(terminal, "bob asks for the keyboard")
    await terminal.page.wait_for_timeout(SETTLED_MS)
    await terminal.page.get_by_role("button", name="Keep the keyboard from bob").click()
    session.show_people(ALICE, {**BOB, "wants": True}, person("v3", "carol"))
    await expect(within(terminal, ".person")).to_have_count(3)
    await expect(within(terminal, ".request")).to_have_count(0)
    session.show_people(ALICE, BOB)
    session.show_people(ALICE, {**BOB, "wants": True})
    await request_of(terminal, "bob asks for the keyboard")
    await terminal.page.wait_for_timeout(SETTLED_MS)
    await terminal.page.get_by_role("button", name="Hand the keyboard over to bob").click()
    await wait_until(lambda: session.acts == [("POST", "/viewers/v2/drive", {})], "handed over")


async def test_the_owner_takes_back_by_click_and_by_key(terminal: Terminal) -> None:
    session = await terminal.open()
    session.turn("watcher", 80, 24)
    session.show_people({**ALICE, "role": "watcher"}, {**BOB, "role": "driver"})
    await terminal.page.get_by_role("button", name="Take back").click()
    await wait_until(lambda: session.role_asks == ["driver"], "by a click")
    await terminal.page.keyboard.press("Control+Shift+Y")
    await wait_until(lambda: session.role_asks == ["driver"] * 2, "by a key")
    assert bytes(session.typed) == b""


async def test_a_driver_who_is_not_the_owner_gives_back(terminal: Terminal) -> None:
    session = await watch(terminal, may_drive=True)
    await terminal.page.get_by_role("button", name="Ask to type").click()
    session.turn("driver", 80, 24)
    session.show_people(person("v1", "alice", "driver", may_drive=True), person("v2", "bob"))
    await expect(within(terminal, ".notices")).to_contain_text("You have the keyboard now.")
    await terminal.page.get_by_role("button", name="Give back").click()
    await wait_until(lambda: session.role_asks == ["driver", "watcher"], "asked and given back")


async def test_a_watcher_types_nothing_and_is_told(terminal: Terminal) -> None:
    session = await watch(terminal)
    session.print(b"\x1b[c\x1b[6nasked")  # queries, which an emulator answers
    await terminal.shows("asked")
    await terminal.page.keyboard.type("rm -rf /\n")
    await terminal.page.keyboard.press("Control+C")
    await expect(within(terminal, ".notices")).to_contain_text("You are watching: what you type goes nowhere.")
    await terminal.page.evaluate("navigator.clipboard.writeText('pasted')")
    await terminal.page.keyboard.press("Control+Shift+V")
    await terminal.page.set_viewport_size({"width": 700, "height": 500})
    session.print(b"still")
    await terminal.shows("still")
    assert bytes(session.typed) == b""
    assert session.resizes == []
    assert session.interrupts == 0


async def test_input_goes_on_where_the_others_ended(terminal: Terminal) -> None:
    session = await watch(terminal, may_drive=True)
    session.typed += b"typed by bob"
    session.turn("driver", 80, 24)
    session.show_people(person("v1", "alice", "driver", may_drive=True), person("v2", "bob"))
    await expect(within(terminal, ".notices")).to_contain_text("You have the keyboard now.")
    await terminal.page.keyboard.type("and alice")
    await wait_until(lambda: bytes(session.typed) == b"typed by boband alice", "nothing lost, nothing twice")
    await wait_until(lambda: session.resizes, "the new driver's size")
    session.turn("watcher", 100, 30)
    session.typed += b"bob again"
    session.resizes.clear()
    session.turn("driver", 100, 30)
    await wait_until(lambda: session.resizes, "it drives again")
    await terminal.page.keyboard.type("!")
    await wait_until(lambda: session.typed.endswith(b"bob again!"), "the offsets hold")


async def test_what_was_not_sent_is_dropped_with_the_keyboard(terminal: Terminal) -> None:
    """A paste is under way when the keyboard goes: what the host did not get stays away, also when it comes back."""
    session = await terminal.open()
    session.acks_input = False
    await terminal.page.evaluate("navigator.clipboard.writeText('x'.repeat(100_000))")
    await terminal.page.keyboard.press("Control+Shift+V")
    await terminal.page.click("#paste [value=paste]")
    await wait_until(lambda: len(session.typed) == 65536, "as much as may be in flight")
    session.turn("watcher", 80, 24)
    notices = within(terminal, ".notices")
    await expect(notices).to_contain_text("34 KiB of input did not go to the host.")
    session.acks_input = True
    session.turn("driver", 80, 24)
    await wait_until(lambda: session.resizes, "it drives again")
    await terminal.page.keyboard.type("after")
    await wait_until(lambda: session.typed.endswith(b"xafter"), "only what is typed now")
    assert len(session.typed) == 65536 + len("after")


async def test_a_late_acknowledgement_is_no_mistake(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.keyboard.type("ab")
    await wait_until(lambda: bytes(session.typed) == b"ab", "typed")
    session.turn("watcher", 80, 24)
    session.typed += b"by somebody else"
    session.socket.send({"type": "input_ack", "offset": len(session.typed)})
    session.print(b"goes on")
    await terminal.shows("goes on")
    await terminal.is_state("live")


async def test_who_lost_the_keyboard_while_away_hears_what_was_dropped(terminal: Terminal) -> None:
    session = await terminal.open()
    terminal.broker.is_down = True
    session.socket.cut()
    await terminal.is_state("reconnecting")
    await terminal.page.keyboard.type("lost")
    session.role, session.size = "watcher", (80, 24)
    terminal.broker.is_down = False
    await terminal.is_state("live")
    await expect(within(terminal, ".notices")).to_contain_text("4 bytes of input did not go to the host.")
    assert bytes(session.typed) == b""


# A watcher's screen


@SIZES
@pytest.mark.parametrize("shape", [(80, 24), (132, 43), (40, 12)], ids=str)
async def test_a_watcher_sees_the_whole_screen(
    terminal: Terminal, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    await terminal.page.set_viewport_size({"width": size[0], "height": size[1]})
    cols, rows = shape
    session = await watch(terminal, cols=cols, rows=rows)
    lines = [f"{number:02}{'.' * (cols - 4)}{number:02}" for number in range(rows)]
    session.print(b"\x1b[H" + "\r\n".join(lines).encode())
    await terminal.shows(lines[-1])
    shown = (await terminal.page.evaluate("brokerdScreen.text()")).split("\n")
    assert shown == lines, "no line is wrapped or cut"
    box = await within(terminal, ".xterm-screen").bounding_box()
    view = await within(terminal, ".screen").bounding_box()
    assert box and view
    fits = box["width"] <= view["width"] and box["height"] <= view["height"]
    assert fits or (size[0] == 390 and cols == 132), "only what would be too small to read is scrolled"
    assert box["x"] >= view["x"], "and then from its first column on"
    assert await terminal.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_size_follows_the_driver_and_the_window(terminal: Terminal) -> None:
    session = await watch(terminal, cols=80, rows=24)
    session.socket.send({"type": "resized", "offset": len(session.output), "cols": 100, "rows": 5})
    session.print(b"\x1b[H" + b"w" * 100 + b"\r\nend")
    await terminal.shows("w" * 100)
    await terminal.page.set_viewport_size({"width": 500, "height": 700})
    session.print(b"\r\nlater")
    await terminal.shows("later")
    assert len((await terminal.page.evaluate("brokerdScreen.text()")).split("\n")) == 5
    await expect(within(terminal, ".xterm-screen")).to_be_in_viewport(ratio=1)
    assert session.resizes == []


async def test_a_size_comes_in_order_with_the_output(terminal: Terminal) -> None:
    """What was printed for the old size is wrapped by the old size, however much waits to be parsed."""
    session = await watch(terminal, cols=40, rows=10)
    session.print(b"\x1b[?1049h" + b"." * 300_000 + b"\x1b[2J\x1b[H" + b"a" * 60)  # what wrapped there stays so
    session.socket.send({"type": "resized", "offset": len(session.output), "cols": 80, "rows": 10})
    session.print(b"\r\n" + b"b" * 60)
    await terminal.shows("b" * 60)
    assert (await terminal.page.evaluate("brokerdScreen.text()")).split("\n")[:3] == ["a" * 40, "a" * 20, "b" * 60]


async def test_a_new_driver_fills_their_window(terminal: Terminal) -> None:
    session = await watch(terminal, cols=30, rows=5, may_drive=True)
    await within(terminal, ".screen[data-boxed]").wait_for()
    session.turn("driver", 30, 5)
    await wait_until(lambda: session.resizes, "its own size")
    cols, rows = session.resizes[-1]
    assert cols > 80
    assert rows > 24
    await expect(within(terminal, ".screen[data-boxed]")).to_have_count(0)
    session.turn("watcher", 30, 5)
    await within(terminal, ".screen[data-boxed]").wait_for()
    assert len(session.resizes) == 1


async def test_a_size_that_waits_to_be_parsed_is_not_taken_by_a_new_driver(terminal: Terminal) -> None:
    session = await watch(terminal, cols=30, rows=5, may_drive=True)
    await within(terminal, ".screen[data-boxed]").wait_for()
    await terminal.hold_parsing()
    session.socket.send({"type": "resized", "offset": len(session.output), "cols": 31, "rows": 6})
    session.turn("driver", 31, 6)
    await wait_until(lambda: session.resizes, "its own size")
    await terminal.go_on_parsing()
    session.print(b"after")
    await terminal.shows("after")
    await expect(within(terminal, ".screen[data-boxed]")).to_have_count(0)
    await terminal.page.keyboard.type("x")  # what was resized was told before this
    await wait_until(lambda: session.typed, "the key")
    assert len(session.resizes) == 1


async def test_a_slow_watcher_sees_what_is_left_out(terminal: Terminal) -> None:
    session = await watch(terminal)
    session.output += b"z" * 600_000
    session.leave_out("slow")
    session.print(b"now")
    await terminal.shows("586 KiB of output left out: this browser was too slow")
    await terminal.shows("now")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_strip_is_readable(terminal: Terminal, scheme: str) -> None:
    await terminal.page.emulate_media(color_scheme=scheme)
    session = await terminal.open()
    session.show_people(ALICE, BOB, person("v4", "carol", via="observe"))
    await within(terminal, ".person").nth(2).wait_for()
    colours = "getComputedStyle(document.querySelector('.pane .head')).backgroundColor"
    background = await terminal.page.evaluate(colours)
    for index in range(3):
        colour = await within(terminal, ".person").nth(index).evaluate("one => getComputedStyle(one).color")
        assert contrast(colour, background) >= 4.5, (colour, background)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# The dialog


async def people_dialog(terminal: Terminal, *, people: int = 1) -> Locator:
    """Open, with so many people in it, and still."""
    await expect(within(terminal, ".person")).to_have_count(people)
    await within(terminal, ".head [data-action=people]").click()
    dialog = terminal.page.locator("#people[open]")
    await dialog.wait_for()
    await terminal.page.wait_for_timeout(SETTLED_MS)
    return dialog


async def test_a_link_is_shown_once_and_nowhere_else(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE)
    dialog = await people_dialog(terminal)
    await expect(dialog.get_by_role("checkbox")).not_to_be_checked()
    await dialog.get_by_label("They").select_option("driver")
    await dialog.get_by_label("For").select_option("8h")
    await dialog.get_by_role("button", name="Share", exact=True).click()
    link = dialog.get_by_label("The link")
    await link.wait_for()
    secret = await link.input_value()
    assert secret.endswith("/join/#a-secret")
    assert session.acts == [("POST", "/shares", {"role": "driver", "expires": "8h", "guests": False})]
    await dialog.get_by_role("button", name="Copy").click()
    await expect(dialog).to_contain_text("Copied.")
    assert await terminal.page.evaluate("navigator.clipboard.readText()") == secret
    await expect(dialog).to_contain_text("may type · until")
    await terminal.page.keyboard.press("Escape")
    await expect(terminal.page.locator("#people .content")).to_be_empty()
    assert "a-secret" not in await terminal.page.content()
    assert "a-secret" not in terminal.page.url
    assert "a-secret" not in str(await terminal.page.evaluate("JSON.stringify([document.title, {...sessionStorage}])"))


async def test_a_person_is_invited_by_name_and_a_share_revoked(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE)
    dialog = await people_dialog(terminal)
    await dialog.get_by_label("With one person").check()
    await expect(dialog.get_by_role("checkbox")).to_be_hidden()
    await dialog.get_by_label("Name").fill("bob")
    await terminal.page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("bob finds this terminal on their page of hosts.")
    assert session.acts == [("POST", "/shares", {"role": "watcher", "expires": "1h", "person": "bob"})]
    await dialog.get_by_role("button", name="Revoke the share: bob").click()
    await expect(dialog.locator(".shares li")).to_have_count(0)
    assert session.acts[-1] == ("DELETE", "/shares/share0", {})


async def test_guests_are_let_ask_only_if_the_owner_says_so(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE)
    dialog = await people_dialog(terminal)
    await dialog.get_by_label("People without an account may ask, and only watch").check()
    await dialog.get_by_role("button", name="Share", exact=True).click()
    await dialog.get_by_label("The link").wait_for()
    assert session.acts == [("POST", "/shares", {"role": "watcher", "expires": "1h", "guests": True})]


async def test_a_key_right_behind_esc_is_typed(terminal: Terminal) -> None:
    """The event that says that a dialog is closed comes after the key."""
    session = await terminal.open()
    await terminal.page.evaluate(
        "document.addEventListener('close', (event) => event.stopImmediatePropagation(), { capture: true })"
    )
    session.show_people(ALICE)
    await people_dialog(terminal)
    await terminal.page.keyboard.press("Escape")
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(session.typed) == b"x", "the keyboard is the terminal's again")


async def test_without_the_capability_the_reason_stands_there(terminal: Terminal) -> None:
    terminal.broker.hosts["web1"].logins = {"root": ["terminal"], "backup": ["terminal", "share"]}
    session = await terminal.open()
    session.show_people(ALICE)
    dialog = await people_dialog(terminal)
    await expect(dialog).to_contain_text("No grant lets you share a terminal as root on web1.")
    await expect(dialog.get_by_role("button", name="Share", exact=True)).to_be_hidden()


async def test_the_owner_hands_over_and_removes_in_the_list(terminal: Terminal) -> None:
    session = await terminal.open()
    session.show_people(ALICE, BOB, person("v3", "Greta", is_guest=True))
    dialog = await people_dialog(terminal, people=3)
    await expect(dialog.get_by_role("button", name="Hand over: “Greta” (guest)")).to_have_count(0)
    await dialog.get_by_role("button", name="Hand over: bob").click()
    await dialog.get_by_role("button", name="Remove: “Greta” (guest)").click()
    wanted = [("POST", "/viewers/v2/drive", {}), ("DELETE", "/viewers/v3", {})]
    await wait_until(lambda: session.acts == wanted, "both")
    session.turn("watcher", 80, 24)
    session.show_people({**ALICE, "role": "watcher"}, {**BOB, "role": "driver"})
    await dialog.get_by_role("button", name="Take back: bob").wait_for()
    await terminal.page.wait_for_timeout(SETTLED_MS)
    await dialog.get_by_role("button", name="Take back: bob").click()
    await wait_until(lambda: session.role_asks == ["driver"], "taken back")


async def test_who_is_not_the_owner_only_looks(terminal: Terminal) -> None:
    await watch(terminal, may_drive=True)
    dialog = await people_dialog(terminal, people=2)
    await expect(dialog).to_contain_text("alice (you)")
    await expect(dialog.locator(".acts button")).to_have_count(0)
    await expect(dialog.locator(".sharing")).to_be_hidden()


# Lines to each other


async def test_a_line_goes_to_the_people_and_not_to_the_host(terminal: Terminal) -> None:
    session = await watch(terminal)
    await within(terminal, ".head [data-action=say]").click()
    await terminal.page.keyboard.type("look at the log")
    await terminal.page.keyboard.press("Enter")
    await wait_until(lambda: session.acts == [("POST", "/say", {"text": "look at the log"})], "said")
    session.socket.send({"type": "notice", "text": "alice: look at the log"})
    await expect(within(terminal, ".notices")).to_contain_text("alice: look at the log")
    await expect(within(terminal, ".say")).to_be_hidden()
    assert bytes(session.typed) == b""


async def test_a_line_that_was_not_said_stays(terminal: Terminal) -> None:
    await watch(terminal)
    await within(terminal, ".head [data-action=say]").click()
    terminal.broker.problems.append((429, {"title": "Too many", "detail": "one line in a second", "status": 429}))
    await terminal.page.keyboard.type("again")
    await terminal.page.keyboard.press("Enter")
    await expect(within(terminal, ".notices")).to_contain_text("one line in a second")
    assert await within(terminal, ".say input").input_value() == "again"
