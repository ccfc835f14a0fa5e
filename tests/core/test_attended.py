"""A live terminal and the patience with its people: warnings, "stay", viewers that do nothing, and coming back late."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from terminals import nudge
from terminals.end import End
from terminals.history import History
from terminals.kept import MAX_BYTES, MOST, Kept
from terminals.limits import Limits
from terminals.protocol import Close, Role
from terminals.session import TerminalSession
from terminals.viewer import STALL_S, Viewer
from tests.core.host import fake_host
from tests.core.test_session import attach, running
from tests.core.waiting import until
from tests.core.wires import viewer


def new_session(**limits: int) -> TerminalSession:
    return TerminalSession(uuid4(), "alice", 80, 24, Limits(**{"grace_s": 60, "idle_s": 300, "longest_s": 0, **limits}))


def warnings(it: Viewer) -> list[tuple[str, int | None]]:
    return [(message["kind"], message["in_s"]) for message in it.wire.of("limit")]


async def test_an_idle_person_is_warned_once_and_a_key_withdraws_it():
    session = new_session()
    it = attach(session)
    now = session.last_input
    session.tick(now + 239)
    assert warnings(it) == []
    for second in range(241, 250):
        session.tick(now + second)
    assert warnings(it) == [("idle", 59)]
    session.input(it, b"x")
    assert warnings(it) == [("idle", 59), ("idle", None)]


async def test_stay_withdraws_it_as_well_and_types_nothing():
    session = new_session()
    it = attach(session)
    session.last_input -= 290
    session.tick(time.monotonic())
    session.stay(it)
    assert warnings(it)[-1] == ("idle", None) and session.input_offset == 0
    session.tick(time.monotonic() + 200)
    assert not session._stop.done()


async def test_a_watcher_does_not_keep_it_open():
    session = new_session()
    attach(session)
    watcher = attach(session, viewer(Role.WATCHER))
    session.last_input -= 300
    session.stay(watcher)
    session.tick(time.monotonic())
    assert session._stop.result().code is Close.LIMIT


async def test_the_longest_time_is_announced_and_cannot_be_stayed():
    session = new_session(idle_s=0, longest_s=600)
    it = attach(session)
    session.tick(session.opened + 550)
    session.stay(it)
    session.tick(session.opened + 600)
    assert warnings(it)[0] == ("longest", 50)
    assert session._stop.result().reason.startswith("it reached the longest time")


async def test_who_comes_while_it_is_about_to_end_is_told_too():
    session = new_session(idle_s=0, longest_s=600)
    attach(session)
    session.tick(session.opened + 550)
    second = attach(session)
    session.tick(session.opened + 551)
    assert warnings(second) == [("longest", 49)]


async def test_limits_that_are_lifted_withdraw_the_warning():
    session = new_session(idle_s=0, longest_s=600)
    it = attach(session)
    session.tick(session.opened + 550)
    session.limits = Limits(grace_s=60, idle_s=0, longest_s=0)
    session.tick(session.opened + 551)
    assert warnings(it) == [("longest", 50), ("longest", None)]


async def test_a_viewer_without_progress_is_dropped_and_may_come_back():
    session = new_session()
    it, watcher = attach(session), attach(session, viewer(Role.WATCHER))
    session.output(b"hello")
    session.flush()
    session.ack(watcher, 5)
    session.tick(it._progress_at + STALL_S - 1)
    assert it.wire.closed is None
    session.tick(it._progress_at + STALL_S + 1)
    assert it.wire.closed == (4414, "this browser took nothing for a minute")
    assert watcher.wire.closed is None, "it has parsed all that there is"
    assert session.unattended_since is not None
    assert attach(session, offset=5).wire.kinds == ["attached"]


async def test_a_viewer_that_does_not_read_its_socket_is_dropped_as_well():
    session = new_session()
    it = attach(session)
    it.wire.writable = False
    session.output(b"hello")
    session.flush()
    session.tick(time.monotonic() + STALL_S + 1)
    assert it.wire.closed is not None


async def test_a_long_silence_is_no_stall():
    """The minute counts from when there was something to do."""
    session = new_session()
    it = attach(session)
    it._progress_at -= 3600
    session.output(b"at last")
    session.flush()
    session.tick(time.monotonic())
    assert it.wire.closed is None


# What a late browser sees


async def test_where_the_ring_has_moved_on_the_modes_are_restored_and_the_program_draws_anew(monkeypatch):
    monkeypatch.setattr(nudge, "NUDGE_S", 0.02)
    async with fake_host() as host:
        session = new_session()
        session.history = History(64 * 1024)
        async with running(session, host):
            shell = await host.until_shell()
            sizes = []
            changed = shell.terminal_size_changed
            shell.terminal_size_changed = lambda *size: (sizes.append(size[:2]), changed(*size))
            shell.channel.write(b"\x1b[?1049h\x1b[?1h" + bytes(100_000))
            await until(lambda: session.history.head > 100_000)
            it = attach(session)
            assert it.wire.kinds[:3] == ["attached", "replay", "screen"]
            assert "\x1b[?1049h" in it.wire.of("screen")[0]["sequence"]
            await until(lambda: sizes == [(80, 23), (80, 24)])
            other_size = attach(session, cols=100)
            await until(lambda: sizes[2:] == [(100, 24)], "which makes it draw anew by itself")
            assert other_size.wire.of("screen") != []


async def test_a_replay_from_the_very_beginning_needs_nothing():
    session = new_session()
    session.output(b"\x1b[?1049h")
    it = attach(session)
    assert it.wire.kinds == ["attached", "replay"] and not session._nudge.is_on


# Terminals that have just ended

EXIT = End("the program ended with status 0", exit={"status": 0})
LOST = End("the tunnel was lost", Close.TUNNEL_LOST)


@pytest.mark.parametrize(
    ("end", "is_kept"),
    [
        (EXIT, True),
        (LOST, True),
        (End("access was withdrawn", Close.NOT_ALLOWED), False),
        (End("ended by admin", Close.ENDED_BY_ADMIN), False),
        (End("ended by its owner"), False),
        (End("nothing was typed for 300 s", Close.LIMIT), False),
    ],
)
async def test_what_is_kept(end, is_kept):
    kept, session = Kept(), new_session()
    kept.add(session, end)
    assert (kept.get(session.id) is not None) is is_kept


async def test_it_is_kept_for_its_grace_and_bounded():
    now = [100.0]
    kept, session = Kept(lambda: now[0]), new_session()
    session.output(bytes(4 * MAX_BYTES))
    kept.add(session, EXIT)
    assert session.history.head - session.history.start <= MAX_BYTES
    now[0] += 59
    kept.drop_expired()
    assert kept.get(session.id).terminal is session
    now[0] += 1
    assert kept.get(session.id) is None
    kept.drop_expired()
    assert len(kept) == 0
    for _ in range(MOST + 5):
        kept.add(new_session(), EXIT)
    assert len(kept) == MOST


async def test_the_last_words_of_a_terminal_that_has_ended():
    session = new_session()
    session.output(b"bye\r\n")
    it = attach(session)
    await session.say_goodbye(EXIT)
    assert it.wire.output == b"bye\r\n" and it.wire.kinds == ["attached", "replay", "exit", "closing"]
    assert it.wire.closed[0] == 1000
