"""^C: typed exactly once, whatever happens to the connection, and ahead of output that nobody wants to see any more."""

from __future__ import annotations

import re

import pytest

from .conftest import Terminal
from .fake_broker import WINDOW_BYTES, Session, Socket, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HANDED_BYTES = 64 * 1024
"""As in static/terminals/output.js."""
QUERIES = b"\x1b[c\x1b[6n\x1b[>c"
LEFT_OUT = re.compile(r"([\d.]+) (bytes?|KiB|MiB) of output left out: interrupted")


def acked_everything(session: Session) -> bool:
    return session.socket is not None and session.socket.acked_by_page == len(session.output)


async def shown_as_left_out(terminal: Terminal) -> float:
    """The bytes that the gap marker names."""
    await terminal.shows("left out: interrupted")
    match = LEFT_OUT.search(await terminal.page.evaluate("brokerdScreen.text()"))
    assert match
    return float(match[1]) * {"byte": 1, "bytes": 1, "KiB": 1024, "MiB": 1024**2}[match[2]]


async def test_it_is_a_message_of_its_own_and_one_byte_of_input(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.keyboard.type("sleep 9")
    for _ in range(3):
        await terminal.page.keyboard.press("Control+C")
    await terminal.page.keyboard.type("ls")
    await wait_until(lambda: bytes(session.typed) == b"sleep 9\x03\x03\x03ls", "keys in their order")
    assert session.interrupts == 3


@pytest.mark.parametrize("reached", [True, False], ids=["reached the host", "lost with the connection"])
@pytest.mark.parametrize("before", ["", "abc"])
@pytest.mark.parametrize("after", ["", "xyz"])
async def test_a_cut_neither_loses_nor_repeats_it(terminal: Terminal, before: str, after: str, reached: bool) -> None:
    session = await terminal.open()
    session.acks_input = False
    on_attach: list[int] = []
    terminal.broker.greeting = lambda session, _socket: on_attach.append(len(session.typed))
    await terminal.page.keyboard.type(before)
    await terminal.page.keyboard.press("Control+C")
    await terminal.page.keyboard.type(after)
    expected = (before + "\x03" + after).encode()
    await wait_until(lambda: bytes(session.typed) == expected, "all of it")
    if not reached:
        del session.typed[len(before) :]  # as if the connection had been lost just before the ^C arrived
    session.socket.cut()
    await wait_until(lambda: on_attach, "a new attach")
    await terminal.page.keyboard.type(".")
    await wait_until(lambda: session.typed.endswith(b"."), "what was typed last")
    assert bytes(session.typed) == expected + b"."
    assert session.interrupts == 1, "sent again it is a byte like any other"


async def test_a_cut_at_every_byte_around_it(terminal: Terminal) -> None:
    """The broker has taken any part of what was sent when the connection goes."""
    session = await terminal.open()
    session.acks_input = False
    expected = b""
    for taken in range(6):
        typed = b"%da\x03b%d" % (taken, taken)
        await terminal.page.keyboard.type(f"{taken}a")
        await terminal.page.keyboard.press("Control+C")
        await terminal.page.keyboard.type(f"b{taken}")
        expected += typed
        await wait_until(lambda expected=expected: bytes(session.typed) == expected, "all of it")
        del session.typed[len(expected) - len(typed) + taken :]
        session.socket.cut()
        session.socket = None
        await wait_until(lambda: session.socket is not None, "a new attach")
        await wait_until(lambda expected=expected: bytes(session.typed) == expected, "the same bytes after a cut")
    assert len(terminal.broker.attaches) == 7


async def test_typed_while_away_it_goes_out_on_return(terminal: Terminal) -> None:
    session = await terminal.open()
    terminal.broker.is_down = True
    session.socket.cut()
    await terminal.is_state("reconnecting")
    await terminal.page.keyboard.type("a")
    await terminal.page.keyboard.press("Control+C")
    await terminal.page.keyboard.type("b")
    terminal.broker.is_down = False
    await terminal.is_state("live")
    await wait_until(lambda: bytes(session.typed) == b"a\x03b", "what was typed meanwhile")
    assert session.interrupts == 1


async def test_under_a_flood_what_is_not_on_the_screen_is_dropped(terminal: Terminal) -> None:
    session = await terminal.open()
    flood = b"".join(b"line %06d of three megabytes that nobody wants\r\n" % number for number in range(62_000))
    assert len(flood) > 2_900_000
    session.output += flood
    start = session.socket.sent
    session._send_from(session.socket, start, start + WINDOW_BYTES)
    await terminal.page.keyboard.press("Control+C")
    await wait_until(lambda: session.interrupts, "the interrupt")
    session.print(b"^C\r\n$ ")
    await terminal.shows("$ ")
    assert await shown_as_left_out(terminal) == pytest.approx(len(flood) - WINDOW_BYTES, abs=WINDOW_BYTES)
    await wait_until(lambda: acked_everything(session), "all of it acknowledged, and nothing twice")
    assert "line 061999" not in await terminal.page.evaluate("brokerdScreen.text()")


async def test_what_waits_in_the_page_is_dropped_too(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.hold_parsing()
    window = 512 * 1024
    session.print(b"x" * window)
    await terminal.has_arrived(session)
    session.output += b"y" * 1000  # unsent
    await terminal.page.keyboard.press("Control+C")
    await wait_until(lambda: session.interrupts, "the interrupt")
    session.print(b"prompt")
    await terminal.has_arrived(session)
    assert session.ack_log == [], "nothing is parsed yet"
    await terminal.go_on_parsing()
    await terminal.shows("prompt")
    assert await shown_as_left_out(terminal) == pytest.approx(window - HANDED_BYTES + 1000, abs=1024)
    await wait_until(lambda: acked_everything(session), "the dropped bytes count as received")


async def test_without_the_broker_nothing_is_dropped(terminal: Terminal) -> None:
    session = await terminal.open()
    session.drops_output = False  # it has nothing left to drop, so that no modes would be restored
    await terminal.hold_parsing()
    session.print(b"".join(b"%07d\r\n" % number for number in range(40_000)))
    await terminal.has_arrived(session)
    await terminal.page.keyboard.press("Control+C")
    await wait_until(lambda: session.interrupts, "the interrupt")
    await terminal.go_on_parsing()
    await terminal.shows("0039999")
    assert "left out" not in await terminal.page.evaluate("brokerdScreen.text()")
    await wait_until(lambda: acked_everything(session), "all of it acknowledged")


async def test_a_cut_after_the_gap_goes_on_behind_it(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.hold_parsing()
    session.print(b"x" * 300_000)
    await terminal.has_arrived(session)
    session.output += b"y" * 5000
    await terminal.page.keyboard.press("Control+C")
    await wait_until(lambda: session.interrupts, "the interrupt")
    session.print(b"after")
    await terminal.has_arrived(session)
    session.socket.cut()
    session.socket = None
    await terminal.go_on_parsing()
    await wait_until(lambda: session.socket is not None, "a new attach")
    assert terminal.broker.attaches[-1]["output_offset"] == len(session.output)
    session.print(b" and on")
    await terminal.shows("after and on")
    assert (await terminal.page.evaluate("brokerdScreen.text()")).count("left out") == 1


@pytest.mark.parametrize("when", ["gap", "attached"])
async def test_replies_to_a_restoring_sequence_are_not_typed(terminal: Terminal, when: str) -> None:
    terminal.broker.grace = None

    def greet(_session: Session, socket: Socket) -> None:
        socket.send({"type": "screen", "sequence": QUERIES.decode() + "\x1b[?2004h\x1b]2;vim\x07"})

    if when == "attached":
        terminal.broker.greeting = greet
    session = await terminal.open()
    if when == "gap":
        session.restoring = QUERIES.decode() + "\x1b[?2004h\x1b]2;vim\x07"
        session.output += b"x" * 5000
        session.leave_out("slow")
    session.print(b"ready")
    await terminal.shows("ready")
    assert await terminal.page.title() == "web1 · vim", "it was written to the emulator"
    session.print(b"\x1b[6n")
    await wait_until(lambda: session.typed, "the answer to a query of the program")
    assert re.fullmatch(rb"\x1b\[\d+;\d+R", bytes(session.typed)), "and to nothing else"


async def test_after_a_restart_the_screen_is_restored_on_an_empty_one(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"\x1b[?1049hin the alternate screen")
    await terminal.shows("alternate")
    terminal.broker.shift_output = -10
    terminal.broker.greeting = lambda _session, socket: socket.send({"type": "screen", "sequence": "\x1b]2;anew\x07"})
    session.socket.cut()
    session.socket = None
    await wait_until(lambda: session.socket is not None, "a new attach")
    terminal.broker.shift_output = 0
    session.print(b" and on")
    await terminal.shows("ate screen and on")
    assert "in the altern" not in await terminal.page.evaluate("brokerdScreen.text()")
    assert await terminal.page.title() == "web1 · anew"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "gap", "from": 500, "to": 600, "reason": "interrupt"},
        {"type": "gap", "from": 0, "to": -1, "reason": "interrupt"},
        {"type": "screen"},
        {"type": "screen", "sequence": 7},
        {"type": "limit", "kind": "idle", "in_s": "soon"},
        {"type": "limit", "kind": "idle", "in_s": -1},
    ],
)
async def test_nonsense_ends_with_an_explanation(terminal: Terminal, message: dict) -> None:
    session = await terminal.open()
    session.socket.send(message)
    title, text, _ = await terminal.panel()
    assert title == "Misunderstanding"
    assert str(message["type"]) in text


async def test_an_unknown_message_is_ignored(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "weather", "is": "fine"})
    session.print(b"goes on")
    await terminal.shows("goes on")
    await terminal.is_state("live")
