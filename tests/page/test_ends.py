"""Every end is explained, with what to do next: never a dead screen."""

from __future__ import annotations

import pytest

from .conftest import Terminal
from .fake_broker import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BACK = "Back to hosts"
ENDS = [
    (4400, "Misunderstanding", ["Reconnect", "Open again", BACK]),
    (4403, "Not allowed", [BACK, "Open again"]),
    (4409, "Taken over", ["Take back", BACK]),
    (4410, "Ended by an admin", [BACK, "Open again"]),
    (4411, "A limit was reached", ["Open again", BACK]),
    (4412, "Tunnel lost", ["Open again", BACK]),
    (4413, "Host key mismatch", [BACK]),
    (4500, "Recording failed", ["Open again", BACK]),
    (1000, "Session ended", ["Open again", BACK]),
]


@pytest.mark.parametrize(("code", "title", "offers"), ENDS, ids=[str(end[0]) for end in ENDS])
async def test_a_close_is_explained(terminal: Terminal, code: int, title: str, offers: list[str]) -> None:
    session = await terminal.open()
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
