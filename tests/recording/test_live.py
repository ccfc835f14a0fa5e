"""Terminals as a node holds and records them: what is in the file, and what becomes of a terminal that cannot be."""

from __future__ import annotations

import asyncio
import errno
import stat
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from terminals.models import Recording
from terminals.protocol import Role
from terminals.recording import acts, castfile, recorder
from terminals.recording.format import parse_header, parse_line
from terminals.recording.policy import Policy
from terminals.recording.recordings import Recordings
from terminals.recording.store import open_cast, path_of, root
from terminals.sessions import end_session
from tests.core import test_live
from tests.core.agent import in_database
from tests.core.test_live import ended, machine, stage  # noqa: F401
from tests.core.waiting import eventually, until
from tests.core.wires import viewer
from tests.people.helpers import events
from tests.recording.stored import sealed_recording, texts
from tunnels.audit import Actor
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def recorded(stage, alice):  # noqa: F811
    """A node that records, and how to start a terminal on it."""

    @asynccontextmanager
    async def make(policy: Policy = Policy.REQUIRED):
        async with Recordings(policy, 0) as recordings, stage(recordings=recordings) as it:
            begun = it.start

            async def start(**more):
                row, terminal = await begun(alice, **more)
                browser = viewer()
                terminal.attach(browser, cols=100, rows=30, output_offset=None)
                return row, terminal, browser

            it.start = start
            yield it

    return make


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    """Rows of sessions come with those of their recordings, as `open_session` makes them."""
    make = test_live.session_row

    def with_recording(*arguments, **facts):
        row = make(*arguments, **facts)
        acts.begin(row)
        return row

    monkeypatch.setattr(test_live, "session_row", with_recording)


def path(row) -> Path:
    return path_of(row.pk, row.started_at)


def lines(row) -> list[tuple[str, str]]:
    return [parse_line(line)[1:] for line in list(open_cast(path(row)))[1:]]


async def stored(row) -> Recording:
    return await in_database(Recording.objects.get)(pk=row.pk)


async def event(name: str) -> AuditEvent:
    return await in_database(AuditEvent.objects.filter(event=name).latest)("sequence")


async def test_from_the_first_byte_to_the_hash(recorded):
    async with recorded() as it:
        row, terminal, browser = await it.start()
        shell = await it.host.until_shell()
        assert browser.wire.of("attached")[0]["recorded"] is True
        shell.channel.write(b"$ ")
        await until(lambda: browser.wire.output == b"$ ")
        terminal.input(browser, b"typed and not echoed")
        terminal.mark("bob joined as watcher\x1b[31m")
        terminal.resize(browser, 120, 40)
        shell.channel.write("naïve\xff".encode("latin-1"))
        shell.channel.write(b"bye")
        shell.channel.exit(0)
        await ended(row)
        header = parse_header(next(open_cast(path(row))))
        assert (header["width"], header["height"], header["title"]) == (80, 24, "root@web1")
        assert set(header) == {"version", "width", "height", "timestamp", "title", "env"} and len(header["env"]) == 1
        told = [(kind, text) for kind, text in lines(row) if "alice" not in text]
        if told[-1] == ("o", "bye"):  # it came a moment later
            told[-2:] = [("o", told[-2][1] + "bye")]
        assert told == [
            ("r", "100x30"),
            ("o", "$ "),
            ("m", "bob joined as watcher<U+001B>[31m"),
            ("r", "120x40"),
            ("o", "na\ufffdve\ufffdbye"),
        ]
        assert "typed" not in b"".join(open_cast(path(row))).decode()
        sealed = await stored(row)
        assert sealed.state == "sealed" and sealed.sha256
        assert (await event("session.ended")).detail["recording"]["sha256"] == sealed.sha256
        assert stat.S_IMODE(path(row).stat().st_mode) == 0o600


async def test_off_nothing_is_recorded(recorded):
    async with recorded(Policy.OFF) as it:
        _, terminal, browser = await it.start()
        await it.host.until_shell()
        terminal.mark("nobody reads it")
        assert browser.wire.of("attached")[0]["recorded"] is False
    assert not root().exists()


@pytest.mark.parametrize("by", ["admin", "drain"])
async def test_whoever_ends_it_there_is_one_event_with_the_hash(recorded, by):
    async with recorded() as it:
        row, _, browser = await it.start()
        shell = await it.host.until_shell()
        shell.channel.write(b"output")
        await until(lambda: browser.wire.output == b"output")
        if by == "admin":
            await in_database(end_session)(session_id=row.pk, reason="enough", actor=Actor("admin", "192.0.2.9"))
            await it.terminals.recheck()
            await until(lambda: len(it.terminals) == 0)
    assert (await in_database(events)()).count("session.ended") == 1
    said = await event("session.ended")
    assert said.detail["recording"]["state"] == "sealed" and texts(path(row)) == "output"
    assert said.detail["recording"]["sha256"] == (await stored(row)).sha256
    if by == "admin":
        assert (said.person, said.address, said.detail["bytes_out"]) == ("admin", "192.0.2.9", 6)


# Disks that do not take it


@pytest.fixture
def broken_folder(folder: Path) -> None:
    (folder / "recordings").write_text("a file where the folder should be")


async def test_required_it_does_not_open(recorded, broken_folder):
    async with recorded() as it:
        row, _, browser = await it.start()
        await until(lambda: browser.wire.closed)
        assert browser.wire.closed[0] == 4500
        assert browser.wire.closed[1] == "this terminal could not be recorded: file exists"
        await ended(row)
        assert it.host.shells == [], "nothing was asked of the host"
        assert (await stored(row)).state == "failed"
        kinds = await in_database(events)()
        assert "!recording.failed" in kinds and kinds.count("session.ended") == 1
        # Who comes only now hears the reason as well.
        await until(lambda: len(it.terminals) == 0)
        late, again = viewer(), it.terminals.find(row.pk)
        again.attach(late, cols=80, rows=24, output_offset=None)
        it.terminals.attached(again)
        await until(lambda: late.wire.closed)
        assert late.wire.closed == browser.wire.closed


async def test_best_effort_it_opens_and_says_so(recorded, broken_folder, folder, monkeypatch):
    monkeypatch.setattr(recorder, "RETRY_S", 0.05)
    async with recorded(Policy.BEST_EFFORT) as it:
        row, _, browser = await it.start()
        shell = await it.host.until_shell()
        shell.channel.write(b"unrecorded")
        await until(lambda: browser.wire.output == b"unrecorded")
        await until(lambda: "not recorded now" in str(browser.wire.of("notice")))
        (folder / "recordings").unlink()
        await until(lambda: "recorded again" in str(browser.wire.of("notice")))
        shell.channel.write(b" recorded")
        shell.channel.exit(0)
        await ended(row)
    assert texts(path(row)) == " recorded"
    assert "10 bytes of output are missing here: file exists" in texts(path(row), "m")
    assert ("r", "100x30") in lines(row)
    sealed = await stored(row)
    assert sealed.state == "sealed" and "10 bytes" in sealed.problem
    assert "!recording.failed" in await in_database(events)()


async def test_required_a_write_that_fails_ends_it_at_once(recorded, monkeypatch):
    monkeypatch.setattr(recorder, "SYNC_S", 3600)
    async with recorded() as it:
        row, terminal, browser = await it.start()
        shell = await it.host.until_shell()
        shell.channel.write(b"one")
        await until(lambda: path(row).exists() and texts(path(row)) == "one")

        def full(descriptor: int, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(castfile, "write_all", full)
        shell.channel.write(b"two")
        await until(lambda: browser.wire.closed)
        assert browser.wire.closed == (4500, "this terminal could not be recorded: no space left on device")
        await ended(row)
        assert texts(path(row)) == "one"
        await until(lambda: len(it.terminals) == 0)
        assert it.terminals.find(row.pk) is terminal and terminal.history.start == terminal.history.head
    said = await event("session.ended")
    assert said.detail["recording"]["state"] == "failed" and said.detail["recording"]["sha256"]
    assert (await in_database(events)()).count("!recording.failed") == 1


async def test_a_slow_disk_holds_its_own_terminal_back_and_no_other(recorded, monkeypatch):
    """The host's program blocks, whoever looks is told, and the next terminal does not feel it."""
    monkeypatch.setattr(recorder, "SLOW_S", 0.2)
    gate, write_all = threading.Event(), castfile.write_all
    slow: list[int] = []

    def wait(descriptor: int, data: bytes) -> None:
        if descriptor in slow:
            gate.wait(120)
        write_all(descriptor, data)

    monkeypatch.setattr(castfile, "write_all", wait)
    async with recorded() as it:
        row, terminal, browser = await it.start()
        shell = await it.host.until_shell()
        _, _, other = await it.start()
        await until(lambda: len(it.host.shells) == 2 and it.host.shell.started)
        slow.append(terminal.recorder._file._descriptor)
        watcher = viewer(Role.WATCHER)
        terminal.attach(watcher, cols=80, rows=24, output_offset=None)
        terminal.detach(browser)  # a driver who reads nothing would hold the host back as well
        flood = asyncio.create_task(shell.flood(16 * 1024 * 1024))
        await until(lambda: "the recording is slow; this terminal waits" in str(watcher.wire.of("notice")))
        assert terminal.history.head < 2 * recorder.MOST and not flood.done()
        it.host.shell.channel.write(b"echo")
        await until(lambda: other.wire.output == b"echo")
        assert not gate.is_set()
        gate.set()
        assert await flood == 16 * 1024 * 1024
        await until(lambda: terminal.history.head == 16 * 1024 * 1024)
    assert len(texts(path(row))) == 16 * 1024 * 1024


async def is_pruned(row) -> bool:
    return (await stored(row)).state == "pruned"


async def test_old_recordings_go_by_themselves(machine, alice):  # noqa: F811
    row, there = await in_database(sealed_recording)(alice, machine.host)
    old = timezone.now() - timedelta(seconds=61)
    await in_database(Recording.objects.filter(pk=row.pk).update)(sealed_at=old)
    async with Recordings(Policy.REQUIRED, 60):
        await until(lambda: not there.exists())
        await eventually(lambda: is_pruned(row))
