"""`terminals.audience`: watchers are sent output after the driver, at a bounded pace, and skipped forward."""

from __future__ import annotations

import asyncio

from terminals import audience
from terminals.audience import BUDGET, PACE_S
from terminals.viewer import MAX_LAG, RECENT, SKIP_EVERY_S, Viewer
from tests.core.host import fake_host
from tests.core.test_session import running
from tests.core.waiting import until
from tests.sharing.people import join, new_session, owner, watcher

LINE = b"0123456789abcdef" * 4 + b"\r\n"


def reading(it: Viewer, session) -> Viewer:
    """One that acknowledges what it gets, as fast as it comes."""
    send = it.wire.send_bytes

    def send_bytes(data: bytes) -> None:
        send(data)
        asyncio.get_running_loop().call_soon(lambda: session.ack(it, it.sent))

    it.wire.send_bytes = send_bytes
    return it


async def test_an_echo_reaches_driver_and_watchers_in_the_same_turn(monkeypatch):
    monkeypatch.setattr(audience, "PACE_S", 1)
    session = new_session()
    everybody = [join(session, owner()), join(session, watcher())]
    await until(lambda: session._audience._timer is None)
    session.output(b"x")
    await asyncio.sleep(0)
    assert [it.wire.output for it in everybody] == [b"x", b"x"]
    session.output(b"y")
    await asyncio.sleep(0)
    assert [it.wire.output for it in everybody] == [b"xy", b"x"], "the driver first, the others a moment later"
    await until(lambda: everybody[1].wire.output == b"xy")


async def test_fifty_watchers_share_one_budget():
    session = new_session()
    crowd = [join(session, watcher(f"guest {number}")) for number in range(50)]
    await asyncio.sleep(2 * PACE_S)
    session.output(bytes(MAX_LAG))
    session.flush()
    assert sum(it.sent for it in crowd) <= BUDGET and all(it.sent for it in crowd)
    session.flush()
    assert sum(it.sent for it in crowd) <= BUDGET, "not again within the same moment"


async def test_who_lags_is_skipped_forward_with_a_gap_and_the_modes():
    session = new_session()
    it = join(session, watcher())
    it.wire.writable = False
    session.output(b"\x1b[?2004h")
    for _ in range(2 * MAX_LAG // len(LINE)):
        session.output(LINE)
    it.wire.writable = True
    session.flush()
    gap, screen = it.wire.of("gap"), it.wire.of("screen")
    assert [message["reason"] for message in gap] == ["slow"] and len(screen) == 1
    assert "\x1b[?2004h" in screen[0]["sequence"]
    assert session.history.head - gap[0]["to"] <= RECENT
    read = session.history.read(gap[0]["to"], it.sent)
    assert it.wire.output == read


async def test_a_little_behind_it_gets_everything():
    session = new_session()
    it = reading(join(session, watcher()), session)
    it.wire.writable = False
    for _ in range(MAX_LAG // 2 // len(LINE)):
        session.output(LINE)
    it.wire.writable = True
    session.flush()
    await until(lambda: it.sent == session.history.head)
    assert it.wire.of("gap") == [] and it.wire.output == session.history.read(0, session.history.head)


async def test_who_joins_late_gets_the_screen_as_it_is():
    session = new_session()
    for _ in range(2 * MAX_LAG // len(LINE)):
        session.output(LINE)
    it = join(session, reading(watcher(), session))
    assert it.wire.of("replay") == [{"type": "replay", "until": session.history.head}]
    await until(lambda: it.sent == session.history.head)
    assert it.wire.of("gap") == [] and it.wire.output == session.history.read(0, session.history.head)


async def test_under_a_flood_it_sees_pieces_and_in_the_end_the_end(monkeypatch):
    session, total = new_session(), 60 * 1024 * 1024
    alice = reading(join(session, owner()), session)
    crowd = [reading(join(session, watcher(f"guest {number}")), session) for number in range(50)]
    async with fake_host() as host, running(session, host):
        shell = await host.until_shell()
        begun = asyncio.get_running_loop().time()
        await shell.flood(total)
        await until(lambda: session.history.head == total, "everything is here", 60)
        taken_s = asyncio.get_running_loop().time() - begun
        await until(lambda: alice.sent == total)
        await until(lambda: all(it.sent == total for it in crowd), "everybody is at the end")
    for it in crowd:
        gaps = it.wire.of("gap")
        assert 1 <= len(gaps) <= 2 + taken_s / SKIP_EVERY_S and {gap["reason"] for gap in gaps} == {"slow"}
        missing = sum(gap["to"] - gap["from"] for gap in gaps)
        assert len(it.wire.output) + missing == total


async def test_the_program_is_made_to_draw_anew_now_and_then(monkeypatch):
    monkeypatch.setattr(audience, "REDRAW_EVERY_S", 1)
    drawn: list[float] = []
    session = new_session()
    monkeypatch.setattr(session._audience, "_redraw", lambda: drawn.append(asyncio.get_running_loop().time()))
    it = join(session, watcher())
    for _ in range(3):
        it.wire.writable = False
        session.output(bytes(2 * MAX_LAG))
        it.wire.writable, it._skip_after = True, 0.0
        session.flush()
        await asyncio.sleep(2 * PACE_S)
    await until(lambda: len(drawn) == 2)
    assert drawn[1] - drawn[0] >= 0.99, "the driver sees it as well"
    await asyncio.sleep(1.1)
    assert len(drawn) == 2


async def test_a_watcher_that_reads_nothing_hears_nothing_and_costs_nothing():
    session = new_session()
    it = join(session, watcher())
    session.flush()
    told = len(it.wire.messages)
    for _ in range(20):
        session.output(bytes(MAX_LAG))
        session.flush()
        await asyncio.sleep(0)
    assert it.sent - it.acked <= it.window.size and len(it.wire.of("gap")) <= 1
    assert len(it.wire.messages) - told <= 3
    before = it.wire.output
    await asyncio.sleep(3 * PACE_S)
    assert it.wire.output == before
    assert session._audience._timer is None, "nobody waits for it"
