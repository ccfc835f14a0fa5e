"""`terminals.lines`: which terminals share an SSH connection, and what is left when they go, on a real SSH server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncssh
import pytest

from terminals import lines as lines_module
from terminals.end import End
from terminals.limits import Limits
from terminals.lines import Destination, Line, Lines
from terminals.protocol import Close
from terminals.session import TerminalSession
from tests.core.host import FakeHost, fake_host
from tests.core.waiting import until
from tests.core.wires import viewer

ALICE, BOB = 1, 2
LIMITS = Limits(grace_s=60, idle_s=0, longest_s=0)


def explain(error: BaseException) -> End:
    return End(f"explained: {error}", Close.TUNNEL_LOST)


def new_session() -> TerminalSession:
    return TerminalSession(uuid4(), "alice", 80, 24, LIMITS)


class FakeTunnel:
    def __init__(self) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class Terminal:
    """One terminal's life in a task; `destination` says with whom it may share."""

    def __init__(self, stage: Stage, destination: Destination) -> None:
        self.stage, self.destination = stage, destination
        self.session = new_session()
        self.dials = 0
        self.life = asyncio.create_task(self.session.run(self._open, explain))

    @asynccontextmanager
    async def _open(self, session: TerminalSession) -> Any:
        async with self.stage.lines.shell(self.destination, self._dial, session) as shell:
            yield shell

    async def _dial(self, asker: Any) -> asyncssh.SSHClientConnection:
        self.dials += 1
        await self.stage.may_dial.wait()
        for question in self.stage.questions:
            await asker.ask(question, echo=False)
        return await self.stage.host.connect()

    @property
    def is_up(self) -> bool:
        return self.session._shell is not None

    async def up(self) -> Terminal:
        await until(lambda: self.is_up or self.life.done(), "the terminal is up")
        assert self.is_up, self.life.result()
        return self

    async def end(self) -> End:
        self.session.end(End("enough"))
        return await self.life


class Stage:
    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.lines = Lines()
        self.questions: list[str] = []
        self.may_dial = asyncio.Event()
        self.may_dial.set()
        self.tunnel: Any = FakeTunnel()
        self.started: list[Terminal] = []

    def start(self, person: int = ALICE, login: str = "root", **more: Any) -> Terminal:
        facts = {"tunnel": self.tunnel, "person": person, "login": login, "host_keys": ("key",), **more}
        self.started.append(Terminal(self, Destination(**facts)))
        return self.started[-1]

    async def up(self, *args: Any, **more: Any) -> Terminal:
        return await self.start(*args, **more).up()

    @property
    def line(self) -> Line:
        """The oldest."""
        return next(iter(self.lines._lines.values()))[0]

    async def until_opening(self, count: int) -> None:
        await until(lambda: self.line._channels == count, f"{count} channels, with those that are just asked for")

    async def nothing_left(self) -> None:
        await until(lambda: self.host.open_doors == 0, "every connection is closed")
        assert len(self.lines) == 0 and self.lines._lines == {} == self.lines._dialling


@pytest.fixture
async def stage():
    """`await stage(...)`: a host with these facts. Afterwards nothing may be left, whatever the test did."""
    async with AsyncExitStack() as stack:

        async def make(**facts: Any) -> Stage:
            it = Stage(await stack.enter_async_context(fake_host(**facts)))

            async def leave() -> None:
                for terminal in it.started:
                    await terminal.end()
                await it.nothing_left()
                await until(lambda: not ours(), "no task is left")

            stack.push_async_callback(leave)
            return it

        yield make


def ours() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "open_shell" in repr(task) or "_measure" in repr(task)}


# Who shares


async def test_the_second_terminal_needs_no_login(stage):
    it = await stage()
    one, two = await it.up(), await it.up()
    assert len(it.host.doors) == 1 and len(it.host.shells) == 2 and two.dials == 0
    browsers = [viewer(), viewer()]
    for terminal, browser, text in zip((one, two), browsers, (b"first", b"second"), strict=True):
        terminal.session.attach(browser, cols=80, rows=24, output_offset=None)
        terminal.session.input(browser, text)
    await until(lambda: [bytes(shell.typed) for shell in it.host.shells] == [b"first", b"second"])
    it.host.shells[1].channel.write(b"for the second")
    await until(lambda: browsers[1].wire.output == b"for the second")
    assert browsers[0].wire.output == b""


@pytest.mark.parametrize(
    "other",
    [
        {"person": BOB},
        {"login": "guest"},
        {"host_keys": ("another",)},
        {"host_keys": ("key", "another")},
    ],
    ids=str,
)
async def test_who_does_not_share(stage, other):
    it = await stage()
    await it.up()
    await it.up(**other)
    assert len(it.host.doors) == 2


async def test_another_tunnel_is_another_line(stage):
    it = await stage()
    await it.up()
    await it.up(tunnel=FakeTunnel())
    assert len(it.host.doors) == 2


async def test_a_tunnel_that_is_over_is_not_used_any_more(stage):
    it = await stage()
    await it.up()
    it.tunnel.closed.set_result("revoked")
    second = await it.up()
    assert second.dials == 1, "whether a new one may be dialled is for the dial to say"


async def test_a_line_for_which_a_person_answered_stays_private(stage):
    it = await stage()
    it.questions = ["password: "]
    for number in (1, 2):
        terminal, browser = it.start(), viewer()
        terminal.session.attach(browser, cols=80, rows=24, output_offset=None)
        await until(lambda browser=browser: b"password: " in browser.wire.output, "each is asked")
        terminal.session.input(browser, b"secret\r")
        await terminal.up()
        assert len(it.host.doors) == number
    assert len(it.lines) == 0


# How many


async def test_ten_on_one_line(stage):
    it = await stage(max_sessions=100)
    for _ in range(11):
        await it.up()
    assert [sum(not shell.lost for shell in door.shells) for door in it.host.doors] == [10, 1]
    await it.started[3].end()
    await until(lambda: it.host.shells[3].lost)
    await until(lambda: it.line.has_room)
    await it.up()
    assert len(it.host.doors) == 2


@pytest.mark.parametrize("most", [1, 3])
async def test_a_host_that_allows_fewer(stage, most):
    it = await stage(max_sessions=most)
    for _ in range(4):
        await it.up()
    assert max(len(door.shells) for door in it.host.doors) <= most
    assert len(it.host.doors) == -(-4 // most)
    ends = [terminal.life.done() for terminal in it.started]
    assert not any(ends), "nobody was told of an error"


async def test_a_host_without_shells_says_so_once(stage):
    it = await stage(max_sessions=0)
    terminal = it.start()
    assert (await terminal.life).reason.startswith("explained:")
    assert terminal.dials == 1


async def test_opened_at_once_they_wait_for_one_login(stage):
    it = await stage()
    it.may_dial.clear()
    terminals = [it.start() for _ in range(4)]
    await until(lambda: sum(terminal.dials for terminal in terminals) == 1)
    it.may_dial.set()
    for terminal in terminals:
        await terminal.up()
    assert len(it.host.doors) == 1


async def test_opened_at_once_beyond_the_room(stage):
    it = await stage(max_sessions=2)
    terminals = [it.start() for _ in range(5)]
    for terminal in terminals:
        await terminal.up()
    assert all(len(door.shells) <= 2 for door in it.host.doors)


async def test_nobody_waits_for_a_person(stage):
    """The first is asked and does not answer; the others are asked at once, not after them."""
    it = await stage()
    it.questions = ["password: "]
    terminals = [it.start() for _ in range(3)]
    await until(lambda: [terminal.dials for terminal in terminals] == [1, 1, 1])


async def test_the_first_of_several_is_ended_while_dialling(stage):
    it = await stage()
    it.may_dial.clear()
    first, *others = [it.start() for _ in range(3)]
    await until(lambda: first.dials == 1)
    await first.end()
    await until(lambda: any(terminal.dials for terminal in others))
    it.may_dial.set()
    for terminal in others:
        await terminal.up()


async def test_the_dial_of_the_first_fails(stage):
    it = await stage()

    async def fail(asker):
        await asyncio.sleep(0.01)
        raise OSError("no luck")

    first, second = it.start(), it.start()
    first._dial = fail
    assert (await first.life).reason == "explained: no luck"
    await second.up()
    assert second.dials == 1


# How it ends


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_each_closes_its_own_channel_and_the_last_one_the_line(stage, order):
    it = await stage()
    terminals = [await it.up() for _ in range(3)]
    for number in order[:2]:
        assert (await terminals[number].end()).reason == "enough"
        await until(lambda number=number: it.host.shells[number].lost)
        assert it.host.open_doors == 1
    last = order[2]
    assert not it.host.shells[last].lost and not terminals[last].life.done()
    await terminals[last].end()
    await it.nothing_left()


async def test_a_program_that_ends_leaves_the_others_alone(stage):
    it = await stage()
    one, two = await it.up(), await it.up()
    it.host.shells[0].channel.exit(7)
    assert (await one.life).exit == {"status": 7}
    assert not two.life.done()


async def test_a_flood_into_a_terminal_that_is_gone_hurts_nobody(stage):
    """What is on its way when the channel closes is dropped; the line and the next terminal work."""
    it = await stage()
    one, two = await it.up(), await it.up()
    flood = asyncio.create_task(it.host.shells[0].flood(8 * 1024 * 1024))
    await until(lambda: one.session.history.head > 512 * 1024)
    await one.end()
    await flood
    await until(lambda: it.host.shells[0].lost)
    it.host.shells[1].channel.write(b"fine")
    await until(lambda: two.session.history.head == 4)
    await it.up()
    assert it.host.open_doors == len(it.host.doors) == 1


async def test_a_line_that_is_lost_ends_all_on_it_and_is_not_used_again(stage):
    it = await stage()
    one, two = await it.up(), await it.up()
    it.host.doors[0].connection.abort()
    for terminal in (one, two):
        assert "the connection to the host was lost" in (await terminal.life).reason
    await it.up()
    assert len(it.host.doors) == 2


async def test_ended_while_its_shell_is_being_opened(stage):
    """The host answers afterwards: that shell is closed as it comes, and the line goes on."""
    it = await stage()
    one = await it.up()
    go = it.host.doors[0].hold_sessions()
    two = it.start()
    await it.until_opening(2)
    await two.end()
    go.set()
    await until(lambda: len(it.host.shells) == 2 and it.host.shells[1].lost, "the shell that nobody waits for ends")
    assert not one.life.done() and it.host.open_doors == 1
    await it.until_opening(1)


async def test_a_line_on_which_a_shell_does_not_come_is_left_to_those_who_have_one(stage, monkeypatch):
    it = await stage()
    one = await it.up()
    it.host.doors[0].hold_sessions()
    it.may_dial.clear()
    with monkeypatch.context() as impatient:
        impatient.setattr(lines_module, "OPEN_TIMEOUT_S", 0.2)
        two = it.start()
        await until(lambda: two.dials == 1, "it gives the line up")
    it.may_dial.set()
    await two.up()
    assert two.dials == 1 and not one.life.done()
    assert not it.line.has_room


async def test_the_size_of_a_browser_that_comes_while_the_shell_is_opened(stage):
    it = await stage()
    await it.up()
    go = it.host.doors[0].hold_sessions()
    terminal = it.start()
    await it.until_opening(2)
    terminal.session.attach(viewer(), cols=132, rows=50, output_offset=None)
    go.set()
    await terminal.up()
    await until(lambda: it.host.shells[1].size == (132, 50))


async def test_a_line_alone():
    async with fake_host() as host:
        line = Line(await host.connect())
        async with line.shell(new_session()):
            assert line.has_room
        assert line.is_over and not line.has_room, "at once, not when the host has noticed"
        await until(lambda: host.open_doors == 0)


async def test_a_failure_of_ours_in_one_terminal_leaves_the_others_alone(stage, monkeypatch, caplog):
    it = await stage()
    one, two = await it.up(), await it.up()
    monkeypatch.setattr(one.session.history, "append", lambda data: 1 / 0)
    it.host.shells[0].channel.write(b"boom")
    assert "the broker failed" in (await one.life).reason
    it.host.shells[1].channel.write(b"fine")
    await until(lambda: two.session.history.head == 4)
    assert "output failed" in caplog.text and two.is_up
