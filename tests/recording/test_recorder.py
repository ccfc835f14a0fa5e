"""`terminals.recording.recorder`: a recorder on a real file, and on disks that are slow, full, or hang."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event as Gate
from uuid import uuid4

import pytest

from terminals.recording import recorder as recorder_module
from terminals.recording.castfile import CastFile
from terminals.recording.format import header, parse_line
from terminals.recording.recorder import BATCH, MOST, Recorder
from terminals.recording.store import frames, open_cast, path_of
from terminals.recording.writers import Writers
from tests.core.waiting import until

HEADER = header(cols=80, rows=24, timestamp=1, title="root@web1", term="xterm")


@pytest.fixture
def writers() -> Iterator[Writers]:
    with Writers(2) as started:
        yield started


@dataclass
class Heard:
    """A `Listener`."""

    news: list[str] = field(default_factory=list)

    def caught_up(self) -> None:
        self.news.append("caught up")

    def slow(self) -> None:
        self.news.append("slow")

    def failed(self, problem: str) -> None:
        self.news.append(f"failed: {problem}")

    def resumed(self, gap: str) -> None:
        self.news.append(f"resumed: {gap}")


class Disk(CastFile):
    """A real file whose writes wait for `gate`, or fail."""

    def __init__(self) -> None:
        self.path = path_of(uuid4(), datetime(2026, 3, 1, tzinfo=UTC))
        super().__init__(self.path, HEADER)
        self.gate = Gate()
        self.gate.set()
        self.error: OSError | None = None
        self.calls: list[bool] = []
        """Of `write`: whether it was to reach the disk."""

    def _pass(self) -> None:
        self.gate.wait(120)
        if self.error is not None:
            raise self.error

    def open(self) -> None:
        self._pass()
        super().open()

    def write(self, events=(), *, to_disk: bool = False) -> None:
        self.calls.append(to_disk)
        self._pass()
        super().write(events, to_disk=to_disk)

    def resume(self) -> None:
        self._pass()
        super().resume()

    @property
    def shown(self) -> str:
        return self.of("o")

    def of(self, kind: str) -> str:
        events = [parse_line(line) for line in list(open_cast(self.path))[1:]]
        return "".join(text for _, one, text in events if one == kind)


@dataclass
class Stage:
    disk: Disk
    heard: Heard
    recorder: Recorder


@pytest.fixture
def make(writers: Writers) -> Callable[..., Stage]:
    def make(resumes: bool = False) -> Stage:
        disk, heard = Disk(), Heard()
        return Stage(disk, heard, Recorder(disk, writers, heard, cols=80, rows=24, resumes=resumes))

    return make


FULL = OSError(errno.ENOSPC, "No space left on device")


async def test_it_is_in_the_file_at_once_and_on_the_disk_soon(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "SYNC_S", 3600)
    it = make()
    assert await it.recorder.start() == ""
    it.recorder.output(b"one")
    await until(lambda: it.disk.shown == "one")
    it.recorder.mark("alice joined")
    it.recorder.resize(100, 30)
    it.recorder.output(b"two")
    await until(lambda: it.disk.shown == "onetwo")
    assert (it.disk.of("m"), it.disk.of("r")) == ("alice joined", "100x30")
    assert True not in it.disk.calls
    monkeypatch.setattr(recorder_module, "SYNC_S", 0.1)
    it.recorder._cancel("sync")
    it.recorder.mark("bob joined")
    await until(lambda: True in it.disk.calls)
    await until(lambda: all(frame.is_whole for frame in frames(it.disk.path)), "the frame has ended")
    sealed = await it.recorder.close()
    assert not sealed.has_failed and sealed.size > 0 and it.heard.news == []


async def test_a_quiet_terminal_costs_nothing(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "SYNC_S", 0.1)
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.02)
    it = make()
    await it.recorder.start()
    await until(lambda: it.disk.calls == [True])
    await asyncio.sleep(0.3)
    assert it.disk.calls == [True] and it.recorder._timers == {}
    await it.recorder.close()


async def test_what_came_last_is_in_it(make):
    it = make()
    await it.recorder.start()
    it.recorder.output(b"the end")
    await it.recorder.close()
    it.recorder.output(b"too late")
    it.recorder.mark("too late")
    assert it.disk.shown == "the end" and it.disk.of("m") == ""


async def test_a_flood_is_written_in_batches_and_whole(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "FLUSH_S", 30)
    monkeypatch.setattr(recorder_module, "SYNC_S", 30)
    it = make()
    await it.recorder.start()
    sent = bytearray()
    for number in range(3000):
        chunk = b"%06d" % number * 1000
        sent += chunk
        it.recorder.output(chunk)
        while it.recorder.is_behind:
            await asyncio.sleep(0.001)
        if number % 50 == 0:
            await asyncio.sleep(0)
    sealed = await it.recorder.close()
    assert it.disk.shown.encode() == sent
    assert sealed.stored_size == it.disk.path.stat().st_size
    assert len(it.disk.calls) < len(sent) / BATCH + 60


async def test_a_disk_that_waits_is_waited_for_within_bounds(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "SLOW_S", 0.1)
    slow, quick = make(), make()
    for it in (slow, quick):
        await it.recorder.start()
    slow.disk.gate.clear()
    slow.recorder.output(b"x" * MOST)
    assert not slow.recorder.is_behind
    slow.recorder.output(b"x")
    assert slow.recorder.is_behind
    await until(lambda: slow.heard.news == ["slow"])
    quick.recorder.output(b"other")
    await until(lambda: quick.disk.shown == "other", "the other one's disk is not slow")
    slow.disk.gate.set()
    await until(lambda: slow.heard.news == ["slow", "caught up"])
    assert not slow.recorder.is_behind
    await until(lambda: len(slow.disk.shown) == MOST + 1)
    assert not (await slow.recorder.close()).has_failed
    assert not (await quick.recorder.close()).has_failed


async def test_an_error_is_the_end_where_it_is_required(make):
    it = make()
    await it.recorder.start()
    it.recorder.output(b"one")
    await until(lambda: it.disk.shown == "one")
    it.disk.error = FULL
    it.recorder.output(b"two")
    await until(lambda: it.heard.news == ["failed: no space left on device"])
    it.disk.error = None
    it.recorder.output(b"three")
    assert not it.recorder.is_behind
    sealed = await it.recorder.close()
    assert (sealed.has_failed, sealed.problem) == (True, "no space left on device")
    assert it.disk.shown == "one" and it.disk.of("m") == "recording failed: no space left on device"


async def test_an_error_is_a_gap_where_it_is_not(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.05)
    it = make(resumes=True)
    await it.recorder.start()
    it.recorder.output(b"one")
    await until(lambda: it.disk.shown == "one")
    it.disk.error = FULL
    it.recorder.output(b"two!")
    await until(lambda: it.heard.news == ["failed: no space left on device"])
    it.recorder.output(b"lost")
    it.recorder.resize(120, 40)
    await asyncio.sleep(0.2)
    it.disk.error = None
    gap = "8 bytes of output are missing here: no space left on device"
    await until(lambda: it.heard.news[-1] == f"resumed: {gap}")
    it.recorder.output(b"three")
    sealed = await it.recorder.close()
    assert it.disk.shown == "onethree" and it.disk.of("r") == "120x40", "the size as it is now"
    assert (sealed.has_failed, sealed.problem) == (False, gap) and len(it.heard.news) == 2


async def test_a_disk_that_hangs_becomes_a_gap(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "SLOW_S", 0.05)
    monkeypatch.setattr(recorder_module, "TOO_SLOW_S", 0.15)
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.05)
    it = make(resumes=True)
    await it.recorder.start()
    it.disk.gate.clear()
    it.recorder.output(b"x" * BATCH)
    await until(lambda: it.disk.calls, "the writer is at it")
    it.recorder.output(b"y" * (MOST + 1))
    assert it.recorder.is_behind
    await until(lambda: it.heard.news == ["slow", "failed: the disk is too slow"])
    assert not it.recorder.is_behind, "the terminal goes on"
    it.disk.gate.set()
    await until(lambda: it.heard.news[-1].startswith(f"resumed: {MOST + 1} bytes"))
    it.recorder.output(b"end")
    assert not (await it.recorder.close()).has_failed
    assert it.disk.shown == "x" * BATCH + "end"


@pytest.mark.parametrize("resumes", [False, True])
async def test_it_cannot_begin(make, monkeypatch, resumes):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.05)
    it = make(resumes=resumes)
    it.disk.error = OSError(errno.EACCES, "Permission denied")
    problem = await it.recorder.start()
    assert problem == ("" if resumes else "permission denied")
    assert it.heard.news == ["failed: permission denied"]
    it.recorder.output(b"one")
    it.disk.error = None
    if resumes:
        await until(lambda: it.heard.news[-1].startswith("resumed: 3 bytes"))
        it.recorder.output(b"two")
    sealed = await it.recorder.close()
    assert sealed.has_failed is not resumes
    assert not resumes or it.disk.shown == "two"


async def test_a_disk_that_does_not_answer_at_the_beginning(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "START_S", 0.1)
    it = make()
    it.disk.gate.clear()
    assert await it.recorder.start() == "the disk does not answer"
    it.disk.gate.set()
    assert (await it.recorder.close()).has_failed


async def test_a_disk_that_does_not_answer_at_the_end(make, monkeypatch):
    monkeypatch.setattr(recorder_module, "SEAL_S", 0.1)
    it = make()
    await it.recorder.start()
    it.disk.gate.clear()
    it.recorder.output(b"one")
    sealed = await it.recorder.close()
    assert sealed.has_failed and sealed.problem == "the disk did not take its end in time"
    it.disk.gate.set()


@pytest.mark.parametrize("where", ["encode", "write"])
async def test_a_fault_of_ours_counts_as_one_of_the_disk(make, caplog, where):
    it = make()
    await it.recorder.start()

    def fails(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    setattr(it.disk, where, fails)
    it.recorder.output(b"one")
    await until(lambda: it.heard.news == ["failed: the broker failed; the log says why"])
    assert "a bug" in caplog.text
    assert (await it.recorder.close()).has_failed


async def test_a_write_that_fails_while_it_is_closed(make):
    """The disk takes the rest again: the seal says all the same that something is missing."""
    it = make()
    await it.recorder.start()
    it.recorder.output(b"one")
    await until(lambda: it.disk.shown == "one")
    write, begun = it.disk.write, Gate()

    def fails(events=(), *, to_disk: bool = False) -> None:
        it.disk.write = write
        begun.set()
        it.disk.gate.wait(120)
        raise FULL

    it.disk.write = fails
    it.disk.gate.clear()
    it.recorder.output(b"two")
    await until(begun.is_set)
    closing = asyncio.create_task(it.recorder.close())
    await until(lambda: it.recorder._sealed is not None)
    it.disk.gate.set()
    sealed = await closing
    assert (sealed.has_failed, sealed.problem) == (True, "no space left on device")
    assert it.disk.shown == "one"


async def test_a_seal_that_fails(make):
    it = make()
    await it.recorder.start()
    it.recorder.output(b"one")
    await until(lambda: it.disk.shown == "one")
    it.disk.error = FULL
    it.recorder.output(b"two")
    sealed = await it.recorder.close()
    assert sealed.has_failed and sealed.sha256 and it.disk.shown == "one"
