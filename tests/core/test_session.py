"""`terminals.session`, `terminals.shell`: a terminal with an SSH channel to a scripted host, and fake browsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerd.conf import BASE_DIR
from terminals import lines
from terminals import session as session_module
from terminals.end import End
from terminals.history import History
from terminals.keyboard import ACK_S
from terminals.limits import Limits
from terminals.protocol import INPUT_WINDOW, WINDOW, BadMessage, Close, Role
from terminals.session import TerminalSession
from terminals.shell import Program
from terminals.viewer import Viewer
from terminals.window import LEAST
from tests.core.host import FakeHost, fake_host
from tests.core.waiting import PATIENCE_S, until
from tests.core.wires import viewer

LIMITS = Limits(grace_s=60, idle_s=300, longest_s=3600)
BROWSER_ACKS_EVERY = 16 * 1024
"""As in static/terminals/flow.js."""


def new_session() -> TerminalSession:
    return TerminalSession(uuid4(), "alice", 80, 24, LIMITS)


def explain(error: BaseException) -> End:
    return End(f"explained: {error}", Close.TUNNEL_LOST)


def attach(session: TerminalSession, it: Viewer | None = None, offset: int | None = None, **size: int) -> Viewer:
    it = it or viewer()
    session.attach(it, **{"cols": 80, "rows": 24, **size}, output_offset=offset)
    return it


@asynccontextmanager
async def running(session: TerminalSession, host: FakeHost) -> AsyncIterator[asyncio.Task[End]]:
    task = asyncio.create_task(session.run(host.dial, explain))
    try:
        yield task
    finally:
        session.end(End("the test is over"))
        await asyncio.wait({task})


@pytest.fixture
async def host():
    async with fake_host() as host:
        yield host


# Life and its ends


async def test_a_shell_with_a_pty_of_the_browsers_size(host):
    session = new_session()
    it = attach(session, cols=100, rows=30)
    async with running(session, host) as task:
        shell = await host.until_shell()
        assert (shell.term, shell.size) == (Program().term, (100, 30))
        shell.channel.write(b"$ \xff\xfe")
        await until(lambda: it.wire.output == b"$ \xff\xfe", "bytes arrive as they are, UTF-8 or not (trap 9)")
        session.input(it, b"ls\xff\r")
        await until(lambda: shell.typed == b"ls\xff\r")
        session.resize(it, 120, 40)
        await until(lambda: shell.size == (120, 40))
        shell.channel.write(b"bye")
        shell.channel.exit(3)
        end = await task
    assert end == End("the program ended with status 3", exit={"status": 3})
    assert session.history.read(0, session.history.head) == b"$ \xff\xfebye"
    await until(lambda: host.open_doors == 0, "the connection is closed")


async def test_ended_by_a_signal(host):
    session = new_session()
    async with running(session, host) as task:
        shell = await host.until_shell()
        shell.channel.exit_with_signal("TERM")
        assert (await task).exit == {"signal": "TERM"}


async def test_the_connection_is_lost(host):
    session = new_session()
    async with running(session, host) as task:
        await host.until_shell()
        host.doors[0].connection.abort()
        end = await task
    assert end.code is Close.TUNNEL_LOST and "the connection to the host was lost" in end.reason


async def test_ended_from_outside_and_the_first_reason_counts(host):
    session = new_session()
    async with running(session, host) as task:
        await host.until_shell()
        session.end(End("access was withdrawn", Close.NOT_ALLOWED))
        session.end(End("too late"))
        assert await task == End("access was withdrawn", Close.NOT_ALLOWED)
    await until(lambda: host.open_doors == 0)


@pytest.mark.parametrize("error", [asyncssh.ConnectionLost("x"), OSError("x"), RuntimeError("x")])
async def test_what_a_failed_dial_means_is_for_the_caller_to_say(error):
    @asynccontextmanager
    async def dial(_):
        raise error
        yield

    assert (await new_session().run(dial, explain)).reason == "explained: x"


async def test_ended_while_dialing_the_dial_is_cancelled():
    session, cancelled = new_session(), []

    @asynccontextmanager
    async def dial(_):
        try:
            await asyncio.Event().wait()
            yield
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(session.run(dial, explain))
    await asyncio.sleep(0)
    session.end(End("enough"))
    assert await task == End("enough") and cancelled == [True]


async def test_cancelling_the_life_closes_the_connection(host):
    session = new_session()
    task = asyncio.create_task(session.run(host.dial, explain))
    await host.until_shell()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: host.open_doors == 0)


async def test_a_host_that_gives_no_shell():
    async with fake_host(gives_shell=False) as host:
        end = await new_session().run(host.dial, explain)
        assert end.reason.startswith("explained:")
        await until(lambda: host.open_doors == 0)


async def test_a_host_that_never_answers_the_request_for_a_shell(monkeypatch):
    monkeypatch.setattr(lines, "OPEN_TIMEOUT_S", 0.1)
    async with fake_host(answers_channels=False) as host:
        end = await asyncio.wait_for(new_session().run(host.dial, explain), PATIENCE_S)
        assert "did not open a session within" in end.reason
        await until(lambda: host.open_doors == 0)


# Attaching


async def test_the_first_browser():
    session = new_session()
    session.output(b"welcome")
    it = attach(session)
    assert it.wire.messages == [
        {
            "type": "attached",
            "session": str(session.id),
            "role": "driver",
            "cols": 80,
            "rows": 24,
            "output_offset": 0,
            "input_offset": 0,
            "window": WINDOW,
            "head": 7,
            "grace": 60,
            "owner": "alice",
            "viewer": it.id,
            "recorded": False,
        },
        {"type": "replay", "until": 7},
    ]
    assert it.wire.output == b"welcome"


async def test_a_browser_that_comes_back_goes_on_where_it_was():
    session = new_session()
    session.output(b"0123456789")
    it = attach(session, offset=4)
    assert it.wire.kinds == ["attached"] and it.wire.output == b"456789"


async def test_a_browser_that_comes_back_too_late_is_told_what_is_missing():
    session = new_session()
    session.history = History(4)
    for digit in b"0123456789":
        session.output(bytes([digit]))
    it = attach(session, offset=2)
    assert it.wire.of("gap") == [{"type": "gap", "from": 2, "to": 6, "reason": "ring"}]
    assert it.wire.kinds == ["attached", "gap", "screen"] and it.wire.output == b"6789"


async def test_an_offset_that_cannot_be_leaves_everything_as_it_was():
    session = new_session()
    first = attach(session)
    with pytest.raises(BadMessage):
        attach(session, offset=1)
    assert session.viewers == [first] and first.wire.closed is None


async def test_a_new_driver_takes_over():
    session = new_session()
    first, watcher = attach(session), attach(session, viewer(Role.WATCHER))
    second = attach(session, cols=50, rows=20)
    assert first.wire.closed == (4409, "this terminal was opened in another window")
    assert session.driver is second and session.viewers == [watcher, second]
    assert watcher.wire.of("resized") == [{"type": "resized", "offset": 0, "cols": 50, "rows": 20}]
    assert session.unattended_since is None
    session.detach(first)  # its socket goes a moment later, and changes nothing
    assert session.driver is second and session.unattended_since is None


async def test_left_alone_from_the_moment_the_last_driver_goes():
    session = new_session()
    assert session.unattended_since is not None
    it, watcher = attach(session), attach(session, viewer(Role.WATCHER))
    assert session.unattended_since is None
    session.detach(watcher)
    assert session.unattended_since is None
    session.detach(it)
    session.detach(it)
    assert session.unattended_since is not None and session.viewers == []


async def test_a_watcher_sees_and_neither_types_nor_sizes():
    session = new_session()
    watcher = attach(session, viewer(Role.WATCHER), cols=10, rows=10)
    session.output(b"x")
    session.flush()
    assert watcher.wire.output == b"x" and (session.cols, session.rows) == (80, 24)
    session.resize(watcher, 10, 10)
    assert (session.cols, session.rows) == (80, 24)
    with pytest.raises(BadMessage, match="watcher"):
        session.input(watcher, b"x")


async def test_output_goes_out_once_per_turn_of_the_loop():
    session = new_session()
    it = attach(session)
    for _ in range(100):
        session.output(b"x")
    assert it.wire.binary == []
    await asyncio.sleep(0)
    assert it.wire.binary == [b"x" * 100]


# Flow control (trap 17)


async def flood(session: TerminalSession, host: FakeHost, total: int) -> asyncio.Task[int]:
    shell = await host.until_shell()
    return asyncio.create_task(shell.flood(total))


async def test_without_acks_the_program_blocks_and_memory_stays_flat(host):
    session = new_session()
    it = attach(session)
    async with running(session, host):
        flooding = await flood(session, host, 64 * WINDOW)
        await until(lambda: it.sent == WINDOW and not host.shell.may_write.is_set(), "the program blocks")
        await asyncio.sleep(0.05)
        assert not flooding.done()
        assert it.sent == WINDOW
        assert session.history.head <= 4 * WINDOW
        held = session._shell._channel._recv_buf
        assert sum(len(data) for data, _ in held) <= 2 * WINDOW


async def test_an_honest_browser_gets_everything_in_order(host):
    session, total = new_session(), 16 * WINDOW
    it = attach(session)
    async with running(session, host):
        flooding = await flood(session, host, total)

        def parse() -> bool:
            if it.sent - it.acked >= BROWSER_ACKS_EVERY or it.sent == total:
                session.ack(it, it.sent)
            return it.sent == total

        await until(parse, "all of it arrives")
        assert await flooding == total
    assert it.wire.of("gap") == [] and sum(map(len, it.wire.binary)) == total


async def test_a_watcher_never_slows_the_host(host):
    session, total = new_session(), 40 * WINDOW
    watcher = attach(session, viewer(Role.WATCHER))
    watcher.wire.writable = False
    async with running(session, host):
        flooding = await flood(session, host, total)
        assert await asyncio.wait_for(flooding, PATIENCE_S) == total
        await until(lambda: session.history.head == total)
        watcher.wire.writable = True
        session.flush()
    assert len(watcher.wire.of("gap")) == 1 and watcher.wire.of("gap")[0]["reason"] == "slow"


async def test_a_driver_that_leaves_lets_the_program_go_on(host):
    session, total = new_session(), 8 * WINDOW
    it = attach(session)
    async with running(session, host):
        flooding = await flood(session, host, total)
        await until(lambda: not host.shell.may_write.is_set())
        session.detach(it)
        assert await asyncio.wait_for(flooding, PATIENCE_S) == total


async def test_reading_is_never_paused_from_within_data_received(host, monkeypatch):
    session, inside, paused = new_session(), [], []
    attach(session)
    async with running(session, host):
        shell = await until(lambda: session._shell)
        received, pause = shell.data_received, shell._channel.pause_reading

        def data_received(data, datatype):
            inside.append(True)
            received(data, datatype)
            inside.pop()

        monkeypatch.setattr(shell, "data_received", data_received)
        monkeypatch.setattr(shell._channel, "pause_reading", lambda: (paused.append(bool(inside)), pause()))
        flooding = await flood(session, host, 8 * WINDOW)
        await until(lambda: paused)
        assert paused == [False] and not flooding.done()


async def test_pause_and_resume_in_one_turn_come_to_nothing(host, monkeypatch):
    session, calls = new_session(), []
    attach(session)
    async with running(session, host):
        await until(lambda: session._shell)
        monkeypatch.setattr(session._shell._channel, "pause_reading", lambda: calls.append("pause"))
        monkeypatch.setattr(session._shell._channel, "resume_reading", lambda: calls.append("resume"))
        session._shell.pause()
        session._shell.resume()
        session._shell.pause()
        session._shell.pause()
        await asyncio.sleep(0.01)
        assert calls == ["pause"]


def test_the_low_water_mark_lets_every_ack_of_a_browser_through():
    """With less, both sides would wait for each other: the browser acks only so often (trap 17)."""
    assert LEAST // 2 >= BROWSER_ACKS_EVERY
    flow = (BASE_DIR / "static/terminals/flow.js").read_text()
    assert f"ACK_EVERY_BYTES = {BROWSER_ACKS_EVERY // 1024} * KIB" in flow


# Input


def acknowledged(it: Viewer) -> int:
    return max((ack["offset"] for ack in it.wire.of("input_ack")), default=0)


async def test_input_is_acknowledged_by_its_absolute_offset(host):
    session = new_session()
    it = attach(session)
    async with running(session, host):
        await host.until_shell()
        await until(lambda: it.wire.of("input_ack"), "the shell takes input")
        for _ in range(5):
            session.input(it, b"12345")
        await until(lambda: len(it.wire.of("input_ack")) == 2)
        assert [ack["offset"] for ack in it.wire.of("input_ack")] == [0, 25]
        session.detach(it)
        again = attach(session, offset=0)
        assert again.wire.of("attached")[0]["input_offset"] == 25
        await until(lambda: host.shell.typed == b"12345" * 5)


async def test_a_host_that_takes_no_input_stops_the_acks_and_the_window_stops_the_driver(host):
    session = new_session()
    it = attach(session)
    async with running(session, host):
        shell = await host.until_shell()
        ours = await until(lambda: session._shell)
        shell.channel.pause_reading()
        while ours.writable:
            session.input(it, bytes(INPUT_WINDOW // 2))
            await until(lambda: not ours.writable or acknowledged(it) == session.input_offset)
        with pytest.raises(BadMessage, match="unacknowledged"):
            for _ in range(1000):
                session.input(it, bytes(16 * 1024))
        assert session.input_offset <= 3 * 1024 * 1024 + INPUT_WINDOW  # its window, and ours
        assert not ours.writable
        acked = acknowledged(it)
        shell.channel.resume_reading()
        await until(lambda: acknowledged(it) > acked)


async def test_what_is_typed_before_the_shell_is_kept_for_it_and_bounded(host):
    session, go = new_session(), asyncio.Event()
    it = attach(session)

    @asynccontextmanager
    async def dial(terminal):
        await go.wait()
        async with host.dial(terminal) as shell:
            yield shell

    task = asyncio.create_task(session.run(dial, explain))
    session.input(it, b"ls\r")
    with pytest.raises(BadMessage, match="unacknowledged"):
        for _ in range(100):
            session.input(it, bytes(16 * 1024))
            await asyncio.sleep(ACK_S / 10)
    assert it.wire.of("input_ack") == [] and len(session._keyboard._early) <= INPUT_WINDOW
    typed = bytes(session._keyboard._early)
    go.set()
    await host.until_shell()
    await until(lambda: host.shell.typed == typed and host.shell.typed.startswith(b"ls\r"))
    await until(lambda: it.wire.of("input_ack"), "now it is taken over")
    session.end(End("done"))
    await task


# Questions before the shell


async def test_a_password_is_neither_shown_nor_kept_nor_mixed_with_early_input(host):
    session = new_session()
    it = attach(session)

    @asynccontextmanager
    async def dial(terminal):
        await asyncio.sleep(0.01)  # somebody is typing already
        terminal.tell("Only for staff")
        answers.append(await terminal.ask("root's password: ", echo=False))
        answers.append(await terminal.ask("Code: ", echo=True))
        async with host.dial(terminal) as shell:
            yield shell

    answers: list[str | None] = []
    task = asyncio.create_task(session.run(dial, explain))
    session.input(it, b"ls\r")
    await until(lambda: b"password: " in it.wire.output)
    session.input(it, b"hunter2")
    session.input(it, b"\r")
    await until(lambda: b"Code: " in it.wire.output)
    session.input(it, b"123456\rpwd\r")
    await host.until_shell()
    await until(lambda: host.shell.typed == b"ls\rpwd\r", "what is no answer is the shell's")
    session.end(End("done"))
    await task
    assert answers == ["hunter2", "123456"]
    assert session.history.read(0, session.history.head) == b"Only for staff\r\nroot's password: \r\nCode: 123456\r\n"
    assert b"hunter2" not in bytes(session._keyboard._early) and session._keyboard._answer is None


async def test_giving_up_a_question():
    session = new_session()
    it = attach(session)
    asked = asyncio.create_task(session.ask("password: ", echo=False))
    await asyncio.sleep(0)
    session.input(it, b"abc\x03")
    assert await asked is None
    assert session.history.read(0, session.history.head) == b"password: ^C\r\n"


async def test_a_question_that_is_withdrawn_leaves_typing_to_the_shell():
    session = new_session()
    it = attach(session)
    asked = asyncio.create_task(session.ask("password: ", echo=False))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    session.input(it, b"x")
    assert session._keyboard._early == b"x"


# The end


async def test_goodbye_waits_until_all_is_read():
    session = new_session()
    it = attach(session)
    it.wire.writable = False
    session.output(b"last words")
    saying = asyncio.create_task(session.say_goodbye(End("it ended", exit={"status": 0})))
    await asyncio.sleep(0.05)
    assert not saying.done() and it.wire.closed is None
    it.wire.writable = True
    await saying
    assert it.wire.output == b"last words"
    assert it.wire.kinds[-2:] == ["exit", "closing"] and it.wire.closed == (1000, "it ended")
    assert session.viewers == []


async def test_goodbye_waits_for_the_window_as_well():
    session = new_session()
    it = attach(session)
    session.output(bytes(2 * WINDOW))
    saying = asyncio.create_task(session.say_goodbye(End("it ended", exit={"status": 0})))
    await asyncio.sleep(0.03)
    assert not saying.done() and it.sent == WINDOW
    session.ack(it, WINDOW)
    await saying
    assert it.sent == 2 * WINDOW


async def test_goodbye_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(session_module, "LINGER_S", 0.1)
    session = new_session()
    it = attach(session)
    it.wire.writable = False
    session.output(b"never read")
    await asyncio.wait_for(session.say_goodbye(End("it ended", exit={"status": 0})), PATIENCE_S)
    assert it.wire.closed == (1000, "it ended") and it.wire.binary == []


@pytest.mark.parametrize(
    "end",
    [End("gone", Close.TUNNEL_LOST), End("stopping", Close.DRAINING, retry_after_s=5), End("no", Close.NOT_ALLOWED)],
)
async def test_goodbye_without_an_exit_is_said_at_once(end):
    session = new_session()
    one, other = attach(session), attach(session, viewer(Role.WATCHER))
    one.wire.writable = False
    session.output(b"unread")
    await asyncio.wait_for(session.say_goodbye(end), 0.5)
    for it in (one, other):
        assert it.wire.of("exit") == []
        assert it.wire.of("closing") == [{"type": "closing", "reason": end.reason, "retry_after": end.retry_after_s}]
        assert it.wire.closed == (end.code, end.reason)


# All together


STEPS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=300),  # the host prints
        st.sampled_from(["reload", "ack", "block", "unblock", "turn"]),
    ),
    max_size=50,
)


@given(STEPS)
def test_the_stream_survives_reloads_byte_by_byte(steps):
    """A browser that comes back with its offset has, in the end, every byte once and in order."""
    asyncio.run(_reload(steps))


async def _reload(steps) -> None:
    session, printed, screen = new_session(), b"", b""
    it = attach(session)
    for step in [*steps, "unblock", "turn", "reload"]:
        if isinstance(step, bytes):
            session.output(step)
            printed += step
        elif step == "turn":
            await asyncio.sleep(0)
        elif step == "ack":
            session.ack(it, it.sent)
        elif step in ("block", "unblock"):
            it.wire.writable = step == "unblock"
        else:
            screen += it.wire.output
            session.detach(it)
            it = attach(session, offset=len(screen))
    assert screen + it.wire.output == printed
