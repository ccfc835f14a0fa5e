"""Every end is explained, with what to do next: never a dead screen."""

from __future__ import annotations

import re

import pytest

from .conftest import Terminal
from .fake_broker import Session, Socket, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BACK = "Back to hosts"
HIDE = """state => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
ENDS = [
    (4400, "Misunderstanding", ["Reconnect", "Open again", BACK]),
    (4403, "Not allowed", [BACK, "Open again"]),
    (4409, "Taken over", ["Take back", BACK]),
    (4410, "Ended by an admin", [BACK, "Open again"]),
    (4411, "A limit was reached", ["Open again", BACK]),
    (4412, "Tunnel lost", [BACK, "Open again"]),
    (4413, "Host key mismatch", [BACK]),
    (4500, "Recording failed", ["Open again", BACK]),
    (1000, "Session ended", ["Open again", BACK]),
]


@pytest.mark.parametrize(("code", "title", "offers"), ENDS, ids=[str(end[0]) for end in ENDS])
async def test_a_close_is_explained(terminal: Terminal, code: int, title: str, offers: list[str]) -> None:
    session = await terminal.open()
    terminal.broker.hosts["web1"].online = False  # where it would come back, other things are offered
    session.socket.send({"type": "closing", "reason": "because of this", "retry_after": None})
    session.socket.close(code, "because of this")
    shown, text, buttons = await terminal.panel()
    assert (shown, buttons) == (title, offers)
    assert "Because of this." in text


@pytest.mark.parametrize(
    ("exit_message", "text"),
    [
        ({"status": 0}, "ended normally (exit status 0)"),
        ({"status": 3}, "ended with exit status 3"),
        ({"signal": "TERM"}, "ended by signal TERM"),
    ],
)
async def test_the_end_of_the_program(terminal: Terminal, exit_message: dict, text: str) -> None:
    session = await terminal.open()
    session.socket.send({"type": "exit", **exit_message})
    session.socket.close(1000, "the program ended")
    _, shown, buttons = await terminal.panel()
    assert text in shown
    assert buttons[0] == "Open again"
    await terminal.page.keyboard.press("Enter")
    await terminal.is_state("live")
    assert len(terminal.broker.sessions) == 2


async def test_taking_back_what_another_window_took(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"shared screen")
    await terminal.shows("shared screen")
    session.socket.close(4409, "opened in another window")
    await terminal.panel()
    await terminal.page.keyboard.press("Enter")
    await terminal.is_state("live")
    await terminal.shows("shared screen")
    assert len(terminal.broker.sessions) == 1


@pytest.mark.parametrize(
    ("status", "detail", "title", "first_offer"),
    [
        (403, "grant 7 does not cover login root", "Not allowed", BACK),
        (404, "there is no host web1 that you may reach", "Not found", BACK),
        (409, "web1 is offline: the tunnel was cut", "Not possible now", "Try again"),
        (429, "too many open terminals; close one", "Too many tries", "Try again"),
        (401, "log in", "Logged out", "Log in"),
        (500, "something went wrong here", "The broker could not do this", "Try again"),
    ],
)
async def test_a_refusal_to_open_is_explained(
    terminal: Terminal, status: int, detail: str, title: str, first_offer: str
) -> None:
    terminal.broker.problems.append((status, {"title": "No", "detail": detail, "status": status}))
    await terminal.page.goto(terminal.broker.url)
    shown, text, buttons = await terminal.panel()
    assert (shown, buttons[0]) == (title, first_offer)
    assert detail[1:] in text


async def test_a_ticket_that_is_refused_once_is_taken_anew(terminal: Terminal) -> None:
    terminal.broker.close_attach_with.append((4401, "used"))
    await terminal.open()
    await wait_until(lambda: len(terminal.broker.attaches) == 2, "a second attach")


async def until_offers(terminal: Terminal, *offers: str) -> None:
    await terminal.page.wait_for_function(
        """offers => Array.from(document.querySelectorAll(".offers button"), (b) => b.textContent).join() === offers""",
        arg=",".join(offers),
    )


async def test_a_lost_tunnel_waits_for_the_host_to_come_back(terminal: Terminal) -> None:
    session = await terminal.open()
    terminal.broker.hosts["web1"].online = False
    session.socket.send(
        {"type": "closing", "reason": "the tunnel of web1 was lost: no sign of life", "retry_after": None}
    )
    session.socket.close(4412, "the tunnel of web1 was lost: no sign of life")
    title, text, offers = await terminal.panel()
    assert (title, offers) == ("Tunnel lost", [BACK, "Open again"])
    assert "this shell ended with the connection" in text
    assert "Waiting for web1 to come back…" in text
    asked = ("GET", "/hosts/web1", {})
    await wait_until(lambda: asked in terminal.broker.requests, "a look at the host")
    terminal.broker.hosts["web1"].online = True
    await until_offers(terminal, "Open again", BACK)
    assert "web1 is back." in (await terminal.panel())[1]
    await terminal.page.keyboard.press("Enter")
    await terminal.is_state("live")
    assert len(terminal.broker.sessions) == 2
    await terminal.page.keyboard.type("x")
    await wait_until(lambda: bytes(terminal.broker.session.typed) == b"x", "the new shell has the keyboard")


async def test_a_host_that_is_offline_at_opening_is_waited_for(terminal: Terminal) -> None:
    terminal.broker.hosts["web1"].online = False
    terminal.broker.problems.append((409, {"title": "Conflict", "detail": "web1 is offline: gone", "status": 409}))
    await terminal.page.goto(terminal.broker.url)
    await until_offers(terminal, BACK, "Open again")
    title, text, _ = await terminal.panel()
    assert (title, " ".join(text.split())) == (
        "Not possible now",
        "web1 is offline: gone. Waiting for web1 to come back…",
    )
    terminal.broker.hosts["web1"].online = True
    await until_offers(terminal, "Open again", BACK)
    await terminal.page.get_by_role("button", name="Open again").click()
    await terminal.is_state("live")


@pytest.mark.parametrize(("status", "text"), [(404, "not among your hosts any more"), (401, "not logged in any more")])
async def test_waiting_ends_where_it_is_in_vain(terminal: Terminal, status: int, text: str) -> None:
    session = await terminal.open()
    terminal.broker.problems.append((status, {"title": "No", "detail": "no", "status": status}))
    session.socket.close(4412, "gone")
    await terminal.page.locator(".panel .wait", has_text=text).wait_for()


async def test_nobody_is_asked_while_nobody_looks(terminal: Terminal) -> None:
    await terminal.page.clock.install()
    session = await terminal.open()
    terminal.broker.hosts["web1"].online = False
    session.socket.close(4412, "gone")
    await terminal.panel()
    await terminal.page.evaluate(HIDE, "hidden")
    await terminal.page.clock.run_for(60_000)
    asked = [request for request in terminal.broker.requests if request[1] == "/hosts/web1"]
    assert len(asked) <= 1
    await terminal.page.evaluate(HIDE, "visible")
    await wait_until(lambda: terminal.broker.requests[-1][1] == "/hosts/web1", "a look as soon as somebody is there")
    await terminal.page.clock.fast_forward(61 * 60 * 1000)
    await terminal.page.clock.run_for(6_000)
    await terminal.page.locator(".panel .wait", has_text="within an hour").wait_for()


async def test_a_draining_broker_takes_the_shell_with_it(terminal: Terminal) -> None:
    session = await terminal.open()
    terminal.broker.is_down = True
    session.socket.send({"type": "closing", "reason": "the broker is stopping", "retry_after": 0})
    session.socket.close(4503, "the broker is stopping")
    await terminal.is_state("reconnecting")
    assert await terminal.page.inner_text(".banner .words") == "The broker is stopping. Reconnecting…"
    session.is_ended = True
    terminal.broker.is_down = False
    title, text, offers = await terminal.panel()
    assert (title, offers[0]) == ("The broker was restarted", "Open again")
    assert "This shell ended with the broker." in text


async def test_an_ended_terminal_shows_its_last_output(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"the last words of the program\r\n" * 3000)

    def farewell(_session: Session, socket: Socket) -> None:
        output = bytes(session.output)
        for at in range(0, len(output), 32 * 1024):
            socket.send(output[at : at + 32 * 1024])
        session.output.clear()
        socket.send({"type": "exit", "status": 7})
        socket.send({"type": "closing", "reason": "the program ended with status 7", "retry_after": None})
        socket.close(1000, "the program ended with status 7")

    terminal.broker.greeting = farewell
    session.is_ended = False
    await terminal.page.reload()
    _, text, offers = await terminal.panel()
    assert "exit status 7" in text
    assert offers[0] == "Open again"
    await terminal.shows("the last words of the program")


async def test_a_stalled_viewer_comes_back_by_itself(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"before ")
    session.socket.close(4414, "no progress for 60 s")
    session.socket = None
    await wait_until(lambda: session.socket is not None, "a new attach")
    session.print(b"and after")
    await terminal.shows("before and after")
    assert len(terminal.broker.sessions) == 1


@pytest.mark.parametrize(
    ("tunnel_ms", "shown", "explained"),
    [
        (34.2, r"\d+ \+ 34 ms", "broker to host and back 34 ms"),
        (None, r"\d+ ms", "Browser to broker and back"),
    ],
)
async def test_latency_is_split(terminal: Terminal, tunnel_ms: float | None, shown: str, explained: str) -> None:
    terminal.broker.tunnel_ms = tunnel_ms
    await terminal.open()
    latency = terminal.page.locator("#latency")
    await terminal.page.wait_for_function("() => document.getElementById('latency').textContent !== ''")
    assert re.fullmatch(shown, await latency.inner_text())
    assert explained in (await latency.get_attribute("title") or "")
