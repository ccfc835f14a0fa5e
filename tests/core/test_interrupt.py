"""Ctrl-C under a flood: stale output is left out behind a gap, and the modes that it set are not lost with it."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from terminals import interrupts, nudge
from terminals.limits import Limits
from terminals.protocol import WINDOW, BadMessage, Role
from terminals.session import TerminalSession
from terminals.viewer import TAIL, TAIL_LINES, Viewer
from terminals.window import LEAST
from tests.core.host import fake_host
from tests.core.test_session import attach, running
from tests.core.waiting import PATIENCE_S, until
from tests.core.wires import viewer


@pytest.fixture
async def host():
    async with fake_host() as host:
        yield host


def new_session() -> TerminalSession:
    return TerminalSession(uuid4(), "alice", 80, 24, Limits(grace_s=60, idle_s=0, longest_s=0))


async def let_go(session: TerminalSession) -> None:
    await until(lambda: not session._interrupts.is_under_way, "the hold is over")


def gaps(it: Viewer) -> list[tuple[int, int, str]]:
    return [(gap["from"], gap["to"], gap["reason"]) for gap in it.wire.of("gap")]


async def test_what_waits_unsent_is_left_out_but_for_its_end():
    session = new_session()
    it = attach(session)
    session.output(b"y\r\n" * 100_000)
    session.flush()
    assert it.sent == WINDOW
    session.interrupt(it)
    session.output(b"^C\r\n$ ")
    await let_go(session)
    [(begin, end, reason)] = gaps(it)
    assert (begin, reason) == (WINDOW, "interrupt")
    assert session.history.head - TAIL <= end < session.history.head
    assert it.wire.kinds[-3:] == ["gap", "screen", "input_ack"] or it.wire.kinds[-2:] == ["gap", "screen"]
    shown = it.wire.output[WINDOW:]
    assert shown == session.history.read(end, session.history.head) and shown.endswith(b"^C\r\n$ ")
    assert shown.startswith(b"y\r\n"), "whole lines"
    assert it.sent - it.acked <= LEAST, "the end had not to wait for acks"


@pytest.mark.parametrize("line", [b"y\r\n", b"x" * 78 + b"\r\n", b"x" * 1500 + b"\r\n"])
async def test_the_gap_is_still_on_the_screen(line):
    session = new_session()
    it = attach(session)
    session.output(line * (4 * WINDOW // len(line)))
    session.flush()
    session.interrupt(it)
    session.output(b"^C\r\n$ ")
    await let_go(session)
    shown = session.history.read(gaps(it)[0][1], session.history.head)
    assert shown.count(b"\n") <= TAIL_LINES and len(shown) <= TAIL
    assert shown.startswith(line) and shown.endswith(b"^C\r\n$ ")


async def test_the_browser_acknowledges_what_it_dropped():
    session = new_session()
    it = attach(session)
    session.output(b"y\r\n" * 100_000)
    session.flush()
    session.interrupt(it)
    await let_go(session)
    session.ack(it, WINDOW // 2)  # sent before, and of no use any more
    session.ack(it, it.sent)
    assert it.acked == session.history.head


async def test_it_is_typed_and_counts_as_one_byte(host):
    session = new_session()
    it = attach(session)
    async with running(session, host):
        shell = await host.until_shell()
        session.input(it, b"ab")
        session.interrupt(it)
        session.input(it, b"c")
        await until(lambda: shell.typed == b"ab\x03c")
        assert session.input_offset == 4


async def test_a_terminal_that_keeps_up_loses_nothing():
    session = new_session()
    it = attach(session)
    session.output(b"x" * (WINDOW // 2))
    session.flush()
    session.interrupt(it)
    session.output(b"^C")
    session.flush()
    assert gaps(it) == [] and not session._interrupts.is_under_way
    session.ack(it, it.sent)
    session.flush()
    assert it.wire.output == b"x" * (WINDOW // 2) + b"^C"


async def test_what_the_host_still_has_goes_too(host, monkeypatch):
    """The program was held back: what stands in its way out was printed before the ^C as well."""
    # Host and broker are one process here: what keeps it busy for a moment is no silence of the host's.
    monkeypatch.setattr(interrupts, "QUIET_S", interrupts.QUIET_MOST_S)
    monkeypatch.setattr(interrupts, "HOLD_MOST_S", PATIENCE_S)
    session = new_session()
    it = attach(session)
    async with running(session, host):
        shell = await host.until_shell()
        flooding = asyncio.create_task(shell.flood(64 * WINDOW))
        await until(lambda: it.sent == WINDOW and not shell.may_write.is_set(), "the program blocks")
        session.interrupt(it)
        await until(lambda: b"\x03" in shell.typed)
        flooding.cancel()
        shell.channel.write(b"\r\n^C\r\n$ ")
        await until(lambda: it.wire.output.endswith(b"$ "), "the prompt")
        assert len(it.wire.output) <= WINDOW + 2 * TAIL
        [(begin, end, _)] = gaps(it)
        assert end - begin > WINDOW // 2


async def test_in_the_moment_after_the_host_was_let_go_again():
    """All that came has been shown; the host was held back, and has the rest of its flood on the way."""
    session = new_session()
    it = attach(session)
    session._interrupts.flooded()
    session.interrupt(it)
    assert session._interrupts.is_under_way
    session.output(b"y\r\n" * 100_000 + b"^C\r\n$ ")
    session.flush()
    assert it.wire.output == b"", "it waits for the host's silence"
    await let_go(session)
    [(begin, _, reason)] = gaps(it)
    assert (begin, reason) == (0, "interrupt") and it.wire.output.endswith(b"^C\r\n$ ")


async def test_a_program_that_goes_on_all_the_same_is_shown_again(monkeypatch):
    monkeypatch.setattr(interrupts, "HOLD_MOST_S", 0.2)
    monkeypatch.setattr(interrupts, "QUIET_S", 0.1)
    session = new_session()
    it = attach(session)
    session.output(bytes(2 * WINDOW))
    session.flush()
    session.interrupt(it)
    begun = time.monotonic()
    while session._interrupts.is_under_way:
        session.output(b"still here\r\n")
        await asyncio.sleep(0.001)
        assert time.monotonic() - begun < PATIENCE_S
    assert it.wire.output.endswith(b"still here\r\n")


async def test_modes_set_in_what_was_left_out_are_restored():
    session = new_session()
    it = attach(session)
    session.output(b"x" * WINDOW)
    session.flush()
    session.output(b"\x1b[?2004h\x1b[?1h" + b"y\r\n" * WINDOW)
    session.interrupt(it)
    await let_go(session)
    [screen] = it.wire.of("screen")
    assert "\x1b[?2004h" in screen["sequence"] and "\x1b[?1h" in screen["sequence"]


async def test_a_full_screen_program_draws_anew(host, monkeypatch):
    monkeypatch.setattr(nudge, "NUDGE_S", 0.05)
    session = new_session()
    it = attach(session)
    async with running(session, host):
        shell = await host.until_shell()
        sizes = []
        changed = shell.terminal_size_changed
        shell.terminal_size_changed = lambda *size: (sizes.append(size[:2]), changed(*size))
        shell.channel.write(b"\x1b[?1049h")
        await until(lambda: session.history.is_alternate)
        session.output(b"y\r\n" * WINDOW)
        session.flush()
        session.interrupt(it)
        await until(lambda: sizes == [(80, 23), (80, 24)], "one line less, and back")
        assert it.wire.of("resized") == []


async def test_a_new_window_in_the_middle_of_it():
    session = new_session()
    it = attach(session)
    session.output(b"y\r\n" * 100_000)
    session.flush()
    session.interrupt(it)
    second = attach(session, offset=WINDOW)
    await let_go(session)
    assert gaps(second) == [] and second.wire.output.startswith(b"\r\ny"[WINDOW % 3 - 1 :][:1])
    assert not second.is_held


async def test_a_watcher_does_not_interrupt():
    session = new_session()
    watcher = attach(session, viewer(Role.WATCHER))
    with pytest.raises(BadMessage, match="watcher"):
        session.interrupt(watcher)
    assert session.input_offset == 0


async def test_interrupts_within_one_another_are_one():
    session = new_session()
    it = attach(session)
    session.output(b"y\r\n" * 100_000)
    session.flush()
    for _ in range(20):
        session.interrupt(it)
    await let_go(session)
    assert len(gaps(it)) == 1 and session.input_offset == 20
