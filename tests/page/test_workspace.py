"""Tabs and splits for several hosts: by keyboard and mouse, over a reload, closed, and typed into at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Terminal
from .fake_broker import PERSON, Host, Session, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASTE = """text => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    document.activeElement.dispatchEvent(
        new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


class Workspace:
    """The page as somebody with several terminals sees it."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal, self.page, self.broker = terminal, terminal.page, terminal.broker

    async def open(self, *keys: str) -> list[Session]:
        """A terminal on web1, and one more on the next host for each of the keys (a split or a tab)."""
        sessions = [await self.terminal.open()]
        for press, host in zip(keys, ("web2", "db1", "web1", "web2"), strict=False):
            sessions.append(await self.add(press, host))
        return sessions

    async def add(self, press: str, host: str) -> Session:
        known = set(self.broker.sessions)
        await self.choose(press, host)
        await wait_until(lambda: set(self.broker.sessions) - known, f"a session on {host}")
        session = self.broker.session
        await wait_until(lambda: session.socket is not None, "a page that attaches")
        assert session.host == host
        await self.is_active(session)
        await self.page.wait_for_selector(".pane[data-active][data-state=live]")
        return session

    async def choose(self, press: str, search: str) -> None:
        await self.page.keyboard.press(press)
        await self.loaded()
        await self.page.keyboard.type(f"{search} root")
        await self.pick_new()
        await self.page.keyboard.press("Enter")

    async def loaded(self) -> None:
        await self.page.wait_for_selector("#chooser[open]")
        await self.page.wait_for_function("() => document.querySelector('#chooser .hint').textContent === ''")

    async def pick_new(self) -> None:
        """Goes down to the first entry that opens a new terminal."""
        is_new = (
            "document.querySelector('#chooser [aria-selected=true]').parentElement.innerText.startsWith('Open a new')"
        )
        while not await self.page.evaluate(is_new):
            await self.page.keyboard.press("ArrowDown")

    async def is_active(self, session: Session) -> None:
        """The keyboard is in this session's pane."""
        await self.page.wait_for_function(f"() => location.search.includes('session={session.id}')")
        await self.page.wait_for_function("() => document.activeElement.closest('.pane[data-active]') !== null")

    async def type_into(self, session: Session, text: str) -> None:
        await self.page.keyboard.type(text)
        await wait_until(lambda: session.typed.endswith(text.encode()), f"{text} typed into {session.id}")

    async def type_into_all(self) -> None:
        """Turns typing into several terminals on, through its warning."""
        await self.page.keyboard.press("Control+Shift+B")
        await self.page.wait_for_selector("#broadcasting[open]")
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_selector("#broadcast:not([hidden])")

    async def boxes(self) -> list[dict[str, float]]:
        """Where the panes are, in the order of their sessions' hosts on the page."""
        return await self.page.evaluate(
            "[...document.querySelectorAll('.stage[data-shown] .pane')].map((pane) => {"
            " const {left, top, width, height} = pane.getBoundingClientRect(); return {left, top, width, height}; })"
        )

    async def tabs(self) -> list[str]:
        return await self.page.locator("[role=tab] .title").all_text_contents()

    async def notices(self) -> str:
        return " ".join(await self.page.locator(".notices p").all_text_contents())

    async def stored(self) -> Any:
        return json.loads(await self.page.evaluate("sessionStorage.getItem('brokerd.workspace')"))


@pytest.fixture
def workspace(terminal: Terminal) -> Workspace:
    return Workspace(terminal)


RIGHT, DOWN, TAB = "Control+Shift+E", "Control+Shift+D", "Control+Shift+O"


async def test_splits_lie_beside_and_below_each_other(workspace: Workspace) -> None:
    web1, web2, db1 = await workspace.open(RIGHT, DOWN)
    first, second, third = await workspace.boxes()
    assert first["width"] == pytest.approx(500, abs=1)
    assert second["left"] == pytest.approx(500, abs=1)
    assert third["top"] > second["top"]
    assert third["left"] == second["left"]
    assert second["height"] == pytest.approx(third["height"], abs=1)
    for session, text in ((db1, "third"), (web1, "first"), (web2, "second")):
        await workspace.is_active(session)
        await workspace.type_into(session, text)
        await workspace.page.keyboard.press("Control+Shift+ArrowLeft" if session is db1 else "Control+Shift+ArrowRight")
    assert bytes(web1.typed) == b"first"
    assert bytes(db1.typed) == b"third"


async def test_a_click_moves_the_keyboard(workspace: Workspace) -> None:
    web1, web2 = await workspace.open(RIGHT)
    await workspace.page.mouse.click(100, 300)
    await workspace.is_active(web1)
    await workspace.type_into(web1, "here")
    await workspace.page.mouse.click(700, 300)
    await workspace.is_active(web2)


async def test_enter_alone_opens_the_same_host_again(workspace: Workspace) -> None:
    await workspace.terminal.open()
    await workspace.page.keyboard.press(RIGHT)
    await workspace.page.keyboard.press("Enter")  # without waiting for what the broker says
    await wait_until(lambda: len(workspace.broker.sessions) == 2, "a second session")
    assert [(session.host, session.login) for session in workspace.broker.sessions.values()] == [("web1", "root")] * 2


async def test_dividers_move_by_keyboard_and_mouse(workspace: Workspace) -> None:
    web1, _ = await workspace.open(RIGHT)
    divider = workspace.page.get_by_role("separator")
    assert await divider.get_attribute("aria-orientation") == "vertical"
    assert await divider.get_attribute("aria-valuenow") == "50"
    await divider.focus()
    for _press in range(5):
        await workspace.page.keyboard.press("ArrowLeft")
    assert await divider.get_attribute("aria-valuenow") == "40"
    assert (await workspace.boxes())[0]["width"] == pytest.approx(400, abs=1)
    await wait_until(lambda: web1.resizes, "the host hears of the size")
    narrow = web1.resizes[-1]
    await workspace.page.mouse.move(400, 300)
    await workspace.page.mouse.down()
    await workspace.page.mouse.move(600, 320, steps=4)
    await workspace.page.mouse.up()
    assert (await workspace.boxes())[0]["width"] == pytest.approx(600, abs=2)
    await wait_until(lambda: web1.resizes[-1][0] > narrow[0], "a wider terminal")
    await divider.focus()
    await workspace.page.keyboard.press("Escape")
    await workspace.page.keyboard.type("back")
    await wait_until(lambda: b"back" in workspace.broker.session.typed, "the keyboard back in the terminal")


async def test_tabs_are_reached_by_number_and_arrows(workspace: Workspace) -> None:
    web1, web2 = await workspace.open(TAB)
    page = workspace.page
    assert await workspace.tabs() == ["web1", "web2"]
    await page.keyboard.press("Control+Shift+1")
    await workspace.is_active(web1)
    assert "/hosts/web1/terminal" in await page.evaluate("location.href")
    await page.get_by_role("tab", name="web1").focus()
    await page.keyboard.press("ArrowRight")
    selected = page.get_by_role("tab", selected=True)
    assert await selected.get_attribute("aria-label") == "web2"
    assert await page.evaluate("document.activeElement.role") == "tab"
    panel = await selected.get_attribute("aria-controls")
    assert await page.locator(f"#{panel}").get_attribute("role") == "tabpanel"
    await page.keyboard.press("Enter")
    await workspace.is_active(web2)
    await workspace.type_into(web2, "x")


async def test_a_hidden_tab_keeps_its_size_and_is_parsed(workspace: Workspace) -> None:
    web1, _ = await workspace.open(TAB)
    before = list(web1.resizes)
    web1.print(b"while hidden\x1b]2;make\x07")
    await wait_until(lambda: web1.socket.acked == len(web1.output), "output of a hidden tab parsed")
    mark = workspace.page.locator(".tab[data-mark=activity]")
    await mark.wait_for()
    assert await mark.locator(".title").text_content() == "web1 · make"
    assert "new output" in await mark.get_by_role("tab").get_attribute("aria-label")
    await workspace.page.set_viewport_size({"width": 800, "height": 500})
    assert all(cols > 20 and rows > 10 for cols, rows in web1.resizes)
    assert len(web1.resizes) <= len(before) + 1
    await workspace.page.keyboard.press("Control+Shift+1")
    await workspace.terminal.shows("while hidden")
    assert await workspace.page.locator(".tab[data-mark=activity]").count() == 0
    await wait_until(lambda: len(web1.resizes) > len(before), "the shown tab fits the window")


async def test_a_bell_in_a_hidden_tab_leaves_a_mark(workspace: Workspace) -> None:
    web1, _ = await workspace.open(TAB)
    web1.print(b"\x07and more")
    await workspace.page.wait_for_selector(".tab[data-mark=bell]")


async def test_titles_of_hosts_are_text(workspace: Workspace) -> None:
    workspace.broker.hosts["web2"].offline_reason = "<img src=x onerror=alert(1)>"
    workspace.broker.hosts["web2"].online = False
    web1 = await workspace.terminal.open()
    web1.print(b"\x1b]2;<img src=x onerror=alert(1)>\x07")
    await workspace.page.wait_for_function("() => document.querySelector('.tab .title').textContent.includes('<img')")
    await workspace.page.keyboard.press(TAB)
    await workspace.loaded()
    assert "<img src=x" in await workspace.page.inner_text("#chooser-list")
    assert await workspace.page.locator("img").count() == 0


async def test_a_reload_brings_everything_back(workspace: Workspace) -> None:
    """Two hosts, three panes, each attached to its own shell again."""
    sessions = await workspace.open(RIGHT, TAB)
    for session in sessions:
        session.print(f"screen of {session.id}".encode())
    boxes = await workspace.boxes()
    await workspace.page.keyboard.press("Control+Shift+1")
    await workspace.is_active(sessions[1])
    left = [session.socket for session in sessions]
    await workspace.page.reload()
    for session, before in zip(sessions, left, strict=True):
        await wait_until(lambda s=session, b=before: s.socket not in (None, b), f"{session.id} attached again")
    assert len(workspace.broker.sessions) == 3
    await workspace.is_active(sessions[1])
    assert await workspace.tabs() == ["web2", "db1"]
    await workspace.terminal.shows(f"screen of {sessions[1].id}")
    await workspace.type_into(sessions[1], "second")
    await workspace.page.keyboard.press("Control+Shift+ArrowLeft")
    await workspace.type_into(sessions[0], "first")
    await workspace.page.keyboard.press("Control+Shift+2")
    await workspace.terminal.shows(f"screen of {sessions[2].id}")
    assert await workspace.boxes() == boxes


async def test_an_address_that_names_another_session_opens_it_alone(workspace: Workspace) -> None:
    await workspace.open(RIGHT)
    other = workspace.broker.open_session("db1")
    await workspace.page.goto(f"{workspace.broker.url_of('db1')}&session={other.id}")
    await wait_until(lambda: other.socket is not None, "attached")
    assert await workspace.page.locator(".pane").count() == 1
    assert await workspace.tabs() == ["db1"]


@pytest.mark.parametrize(
    "garbage",
    [
        "nonsense",
        "[]",
        json.dumps({"person": PERSON, "tabs": [{"layout": "0", "panes": [{"host": "<b>", "login": "root"}]}]}),
        json.dumps({"person": PERSON, "tabs": [{"layout": "7", "panes": []}], "shown": 4}),
        json.dumps({"person": PERSON, "tabs": [{"layout": {"axis": "row", "parts": ["0", "0"], "shares": [1, 1]}}]}),
        json.dumps(
            {
                "person": "mallory",
                "tabs": [{"layout": "0", "panes": [{"host": "db1", "login": "root", "session": None}], "active": 0}],
            }
        ),
    ],
)
async def test_what_is_stored_is_not_trusted(workspace: Workspace, garbage: str) -> None:
    session = await workspace.terminal.open()
    await workspace.page.goto(f"{workspace.broker.url.partition('/hosts')[0]}/static/icon.svg")
    await workspace.page.evaluate("text => sessionStorage.setItem('brokerd.workspace', text)", garbage)
    await workspace.page.goto(f"{workspace.broker.url}&session={session.id}")
    await workspace.terminal.is_state("live")
    assert await workspace.tabs() == ["web1"]
    assert len(workspace.broker.sessions) == 1


@pytest.mark.parametrize(("answer", "is_ended"), [("End", True), ("Keep it running", False)])
async def test_a_closed_pane_leaves_or_ends_its_shell(workspace: Workspace, answer: str, *, is_ended: bool) -> None:
    web1, web2 = await workspace.open(RIGHT)
    await workspace.page.keyboard.press("Control+Shift+X")
    assert await workspace.page.inner_text("#closing h2") == "End the shell on web2?"
    await workspace.page.get_by_role("button", name=answer, exact=True).click()
    await wait_until(lambda: web2.socket is None, "detached")
    await wait_until(lambda: web2.is_ended or not is_ended, "the shell is ended, where that was asked for")
    assert web2.is_ended is is_ended
    await workspace.is_active(web1)
    await workspace.type_into(web1, "alone")
    assert (await workspace.boxes())[0]["width"] == 1000
    assert not web1.is_ended


@pytest.mark.parametrize("way", ["key", "button"])
async def test_closing_can_be_called_off(workspace: Workspace, way: str) -> None:
    """The event that says that a dialog is closed comes after the key behind Esc."""
    _, web2 = await workspace.open(RIGHT)
    await workspace.page.evaluate(
        "document.addEventListener('close', (event) => event.stopImmediatePropagation(), { capture: true })"
    )
    if way == "key":
        await workspace.page.keyboard.press("Control+Shift+X")
    else:
        await workspace.page.get_by_role("button", name="Close the tab web2").click()
    await workspace.page.wait_for_selector("#closing[open]")
    await workspace.page.keyboard.press("Escape")
    await workspace.type_into(web2, "still here")
    assert not web2.is_ended


async def test_a_shell_that_cannot_be_ended_stays(workspace: Workspace) -> None:
    _, web2 = await workspace.open(RIGHT)
    await workspace.page.keyboard.press("Control+Shift+X")
    workspace.broker.problems.append((500, {"title": "No", "detail": "something went wrong here", "status": 500}))
    await workspace.page.keyboard.press("Enter")
    await workspace.page.wait_for_function("() => document.querySelector('.notices p')")
    assert "The shell goes on. something went wrong here" in await workspace.notices()
    await wait_until(lambda: web2.socket is not None, "attached again")
    assert len(await workspace.boxes()) == 2


async def test_closing_the_last_pane_goes_back_to_the_hosts(workspace: Workspace) -> None:
    web1 = await workspace.terminal.open()
    await workspace.page.get_by_role("button", name="Close the tab web1").click()
    await workspace.page.keyboard.press("Enter")
    await workspace.page.wait_for_function("() => document.title === 'hosts'")
    assert web1.is_ended


async def test_the_end_of_one_of_several_offers_to_close_it(workspace: Workspace) -> None:
    web1, web2 = await workspace.open(RIGHT)
    web2.socket.send({"type": "exit", "status": 0})
    web2.socket.close(1000, "the program ended")
    assert (await workspace.terminal.panel())[2] == ["Open again", "Close"]
    await workspace.page.get_by_role("button", name="Close", exact=True).click()
    await workspace.is_active(web1)
    assert await workspace.page.locator(".pane").count() == 1


async def test_an_end_in_the_background_does_not_take_the_keyboard(workspace: Workspace) -> None:
    web1, web2 = await workspace.open(RIGHT)
    web1.socket.close(4410, "ended")
    await workspace.page.wait_for_selector(".pane[data-state=ended]")
    await workspace.type_into(web2, "on and on")


async def test_the_chooser_attaches_what_is_open_elsewhere(workspace: Workspace) -> None:
    web1 = await workspace.terminal.open()
    other = workspace.broker.open_session("db1")
    workspace.broker.hosts["cam7"] = Host("cam7", online=False, offline_reason="tunnel lost")
    workspace.broker.hosts["files"] = Host("files", {"backup": ["sftp"]})
    await workspace.page.keyboard.press(TAB)
    await workspace.loaded()
    shown = await workspace.page.inner_text("#chooser-list")
    assert "offline: tunnel lost" in shown
    assert "files" not in shown
    await workspace.page.keyboard.type("cam7")
    assert await workspace.page.locator("#chooser [aria-selected=true]").count() == 0
    await workspace.page.keyboard.press("Enter")  # opens nothing: it is offline
    for _key in "cam7":
        await workspace.page.keyboard.press("Backspace")
    await workspace.page.keyboard.type("db1")
    await workspace.page.keyboard.press("Enter")
    await wait_until(lambda: other.socket is not None, "attached to the one that was open")
    await workspace.is_active(other)
    await workspace.page.keyboard.press(TAB)
    await workspace.loaded()
    await workspace.page.keyboard.type("web1")
    await workspace.page.keyboard.press("Enter")
    await workspace.is_active(web1)
    assert len(workspace.broker.sessions) == 2


async def test_typing_goes_to_several_and_replies_do_not(workspace: Workspace) -> None:
    web1, web2, db1 = await workspace.open(RIGHT, DOWN)
    page = workspace.page
    await page.keyboard.press("Control+Shift+B")
    assert await page.locator("#broadcasting li").all_text_contents() == [
        "web1 as root",
        "web2 as root",
        "db1 as root",
    ]
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#broadcast:not([hidden])")
    assert await page.inner_text("#broadcast .words") == "What you type goes to 3 terminals: web1, web2, db1."
    assert await page.locator(".pane[data-receives]").count() == 3
    await page.keyboard.type("ls\r")
    for session in (web1, web2, db1):
        await wait_until(lambda s=session: bytes(s.typed) == b"ls\r", f"typed into {session.host}")
    db1.print(b"\x1b[6n")
    await wait_until(lambda: db1.typed.endswith(b"R"), "the emulator's own answer")
    await page.locator(".pane[data-host=web2] .receives").uncheck()
    await page.keyboard.press("Control+Shift+ArrowLeft")
    await workspace.is_active(web1)
    await page.keyboard.press("Control+C")
    await wait_until(lambda: db1.typed.endswith(b"\x03") and web1.typed.endswith(b"\x03"), "^C at both")
    assert await page.inner_text("#broadcast .words") == "What you type goes to 2 terminals: web1, db1."
    assert bytes(web2.typed) == b"ls\r"
    assert b"R" not in web1.typed
    await page.get_by_role("button", name="Stop").click()
    assert await page.locator(".pane[data-receives]").count() == 0
    await workspace.type_into(web1, "alone")
    assert bytes(db1.typed).endswith(b"\x03")


async def test_pastes_are_bracketed_where_each_program_wants_it(workspace: Workspace) -> None:
    web1, web2 = await workspace.open(RIGHT)
    web2.print(b"\x1b[?2004hready")
    await workspace.terminal.shows("ready")
    await workspace.type_into_all()
    await workspace.page.evaluate(PASTE, "ls")
    await wait_until(lambda: bytes(web2.typed) == b"\x1b[200~ls\x1b[201~", "a bracketed paste")
    await wait_until(lambda: bytes(web1.typed) == b"ls", "a plain one")


async def test_cursor_keys_are_sent_as_each_program_wants_them(workspace: Workspace) -> None:
    web1, web2 = await workspace.open(RIGHT)
    web2.print(b"\x1b[?1hready")
    await workspace.terminal.shows("ready")
    await workspace.type_into_all()
    await workspace.page.keyboard.press("ArrowUp")
    await wait_until(lambda: (bytes(web2.typed), bytes(web1.typed)) == (b"\x1bOA", b"\x1b[A"), "each its own")


async def test_a_terminal_that_is_not_live_is_left_out(workspace: Workspace) -> None:
    web1, web2, db1 = await workspace.open(RIGHT, DOWN)
    web2.socket.close(4410, "ended")
    await workspace.page.wait_for_selector(".pane[data-host=web2][data-state=ended]")
    await workspace.page.keyboard.press("Control+Shift+B")
    assert await workspace.page.inner_text("#broadcasting .left-out") == "Not connected, so left out: web2."
    await workspace.page.keyboard.press("Enter")
    await workspace.page.wait_for_selector("#broadcast:not([hidden])")
    await workspace.type_into(db1, "x")
    await wait_until(lambda: bytes(web1.typed) == b"x", "typed into the other")
    web1.socket.close(4410, "ended")
    await workspace.page.wait_for_function(
        "() => document.querySelector('#broadcast .words').textContent.includes('Left out, since not connected: web1.')"
    )
    await workspace.type_into(db1, "y")


async def test_one_terminal_has_nobody_to_type_along(workspace: Workspace) -> None:
    await workspace.terminal.open()
    await workspace.page.keyboard.press("Control+Shift+B")
    await workspace.page.wait_for_function("() => document.querySelector('.notices p')")
    assert "Fewer than two connected terminals" in await workspace.notices()


async def test_a_page_has_room_for_sixteen(workspace: Workspace) -> None:
    session = await workspace.terminal.open()
    panes = [{"host": "web1", "login": "root", "session": session.id}]
    for _number in range(15):
        panes.append({"host": "web1", "login": "root", "session": workspace.broker.open_session("web1").id})
    tabs = [{"layout": "0", "panes": [pane], "active": 0} for pane in panes]
    await workspace.page.goto(f"{workspace.broker.url.partition('/hosts')[0]}/static/icon.svg")
    stored = json.dumps({"person": PERSON, "tabs": tabs, "shown": 0})
    await workspace.page.evaluate("text => sessionStorage.setItem('brokerd.workspace', text)", stored)
    await workspace.page.goto(f"{workspace.broker.url}&session={session.id}")
    await workspace.terminal.is_state("live")
    assert len(await workspace.tabs()) == 16
    await workspace.page.keyboard.press(RIGHT)
    await workspace.page.keyboard.press("Enter")
    await workspace.page.wait_for_function("() => document.querySelector('.notices p')")
    assert "A page has room for 16 terminals" in await workspace.notices()
    assert await workspace.page.locator(".pane").count() == 16


async def test_the_list_of_keys(workspace: Workspace) -> None:
    session = await workspace.terminal.open()
    await workspace.page.keyboard.press("Control+Shift+K")
    shown = await workspace.page.inner_text("#keys dl")
    for keys in ("Ctrl+Shift+E", "Ctrl+Shift+1-9", "Ctrl+Shift+F6", "Ctrl+Shift+←"):
        assert keys in shown
    await workspace.page.keyboard.press("Escape")
    await workspace.type_into(session, "x")
    assert await workspace.page.get_by_role("button", name="Find").first.get_attribute("title") == "Find (Ctrl+Shift+F)"


async def test_the_bar_is_reached_and_left_by_keyboard(workspace: Workspace) -> None:
    session = await workspace.terminal.open()
    await workspace.page.keyboard.press("Control+Shift+F6")
    assert await workspace.page.evaluate("document.activeElement.closest('#bar') !== null")
    await workspace.page.keyboard.press("Escape")
    await workspace.type_into(session, "x")


async def test_small_screens_show_one_tab_and_stack_its_panes(workspace: Workspace) -> None:
    await workspace.page.set_viewport_size({"width": 390, "height": 844})
    await workspace.open(RIGHT, TAB)
    assert await workspace.page.locator(".tab:visible").count() == 1
    assert await workspace.page.inner_text("#count") == "2/2"
    await workspace.page.keyboard.press("Control+Shift+1")
    first, second = await workspace.boxes()
    assert first["width"] == second["width"] == 390
    assert second["top"] > first["top"]
    for width in (390, 360):
        await workspace.page.set_viewport_size({"width": width, "height": 844})
        assert await workspace.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await workspace.page.locator("#count").click()
    await workspace.loaded()
    assert "In this page" in await workspace.page.inner_text("#chooser-list")
