"""`terminals.recording.castfile`, `.mend`, `.store`: one file, from its first line to its hash, with errors."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest

from terminals.recording import castfile
from terminals.recording.castfile import FRAME_SIZE, CastFile
from terminals.recording.format import Event, Kind, header, parse_line
from terminals.recording.mend import mend, survey
from terminals.recording.store import beside, files_of, frames, open_cast, path_of, root
from tests.needs import require_program

HEADER = header(cols=80, rows=24, timestamp=1, title="root@web1", term="xterm")


@pytest.fixture
def path() -> Path:
    return path_of(uuid4(), datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def file(path: Path) -> CastFile:
    it = CastFile(path, HEADER)
    it.open()
    return it


def output(*texts: str, at: float = 1) -> list[Event]:
    return [Event(at, Kind.OUTPUT, text.encode()) for text in texts]


def shown(path: Path) -> str:
    return "".join(text for _, kind, text in map(parse_line, list(open_cast(path))[1:]) if kind == "o")


def marks(path: Path) -> list[str]:
    return [text for _, kind, text in map(parse_line, list(open_cast(path))[1:]) if kind == "m"]


def hashes(path: Path) -> tuple[str, str]:
    text = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    return hashlib.sha256(text).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()


def test_where_it_is_is_said_by_utc(folder):
    session = uuid4()
    late = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert path_of(session, late) == folder / "recordings" / "2025" / "12" / f"{session}.cast.zst"


def test_nobody_else_may_read_it(file, path):
    old = os.umask(0)
    try:
        other = path.with_name("other.cast.zst")
        CastFile(other, HEADER).open()
    finally:
        os.umask(old)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path, other)} == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in (root(), path.parent.parent, path.parent)} == {0o700}


def test_what_was_written_can_be_read_while_it_is_written(file, path):
    assert list(open_cast(path)) == [HEADER]
    file.write(output("one"))
    assert shown(path) == "one"
    file.write(output("two"), to_disk=True)
    assert shown(path) == "onetwo"


def test_sealed_it_is_what_everybody_can_unpack(file, path):
    """`zstd` itself gives the asciicast, and both hashes are those of the files as they are."""
    require_program("zstd")
    file.write(output("héllo", "\x1b[31mred\x00"))
    file.write(output("x" * 100, at=2.5), to_disk=True)
    file.write([Event(3, Kind.OUTPUT, b"half a character: \xe2\x82")])
    sealed = file.close()
    assert hashes(path) == (sealed.sha256, sealed.stored_sha256)
    text = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    assert (sealed.size, sealed.stored_size, sealed.duration_s) == (len(text), path.stat().st_size, 3)
    assert shown(path).endswith("\ufffd") and not sealed.has_failed
    found = survey(path)
    assert found.digest.seal(duration_s=found.duration_s) == sealed


def test_frames_end_where_lines_do(file, path):
    for number in range(40):
        file.write(output(f"{number:05}" * 8000))
    file.close()
    found = list(frames(path))
    assert len(found) == 6, "seven lines of 40 kB each, and the rest"
    assert all(one.text.endswith(b"\n") and one.is_whole for one in found)
    assert all(FRAME_SIZE <= len(one.text) < FRAME_SIZE + 41_000 for one in found[:-1])
    assert next(open_cast(path, found[3].offset)) == found[3].lines[0]


def test_another_recording_is_never_written_over(file, path):
    with pytest.raises(FileExistsError):
        CastFile(path, HEADER).open()


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_file_that_is_not_there_any_more_is_an_error(file, path, how):
    file.write(output("one"))
    if how == "moved":
        path.parent.rename(path.parent.with_name("elsewhere"))
    else:
        path.unlink()
    if how == "replaced":
        path.write_bytes(b"")
    with pytest.raises(OSError) as error:
        file.write(output("two"))
    assert error.value.errno == errno.ENOENT


# A crash


def crash(file: CastFile, path: Path, lost: int = 0) -> None:
    """The process is gone; of its last write some bytes did not arrive."""
    file.abandon()
    os.truncate(path, path.stat().st_size - lost)


def test_a_lost_broker_leaves_all_but_the_end(file, path):
    require_program("zstd")
    file.write(output("one"), to_disk=True)
    file.write(output("two", at=2))
    file.write(output("three", at=3))
    crash(file, path, lost=4)
    assert shown(path) == "onetwo", "readable before anybody mends it"
    found = mend(path, "the broker was lost")
    assert shown(path) == "onetwo" and marks(path) == ["the broker was lost"]
    sealed = found.digest.seal(duration_s=found.duration_s)
    assert hashes(path) == (sealed.sha256, sealed.stored_sha256)
    assert sealed.duration_s == 2 and all(one.is_whole for one in frames(path))


@pytest.mark.parametrize("lost", range(0, 400, 7))
def test_cut_off_anywhere_it_is_mended(file, path, lost):
    for number in range(30):
        file.write(output(f"{number},", at=number), to_disk=number == 15)
    lost = min(lost, path.stat().st_size)
    crash(file, path, lost)
    before = list(open_cast(path))
    mend(path, "lost")
    after = list(open_cast(path))
    assert after[: len(before)] == before and len(after) == len(before) + bool(before)
    assert all(one.is_whole for one in frames(path))


def test_what_cannot_be_read_is_put_aside(file, path):
    """After a power failure a file may end in zeros."""
    file.write(output("one"), to_disk=True)
    file.abandon()
    good = path.stat().st_size
    with path.open("ab") as disk:
        disk.write(bytes(5000))
    found = mend(path, "lost")
    assert found.damaged_at == good and shown(path) == "one" and marks(path) == ["lost"]
    assert beside(path, ".damaged").read_bytes() == bytes(5000)
    assert stat.S_IMODE(beside(path, ".damaged").stat().st_mode) == 0o600
    assert files_of(path) == sorted([path, beside(path, ".damaged")])


def test_nothing_was_written_at_all(path):
    path.parent.mkdir(parents=True)
    path.touch()
    found = mend(path, "lost")
    assert found.digest.size == 0 and path.read_bytes() == b""


# A disk that takes no more


def test_given_up_it_keeps_what_there_is(file, path, monkeypatch):
    require_program("zstd")
    file.write(output("one"))
    monkeypatch.setattr(castfile, "write_all", fails_after(10))
    with pytest.raises(OSError):
        file.write(output("two" * 1000))
    sealed = file.give_up("no space left on device")
    assert shown(path) == "one" and marks(path) == ["recording failed: no space left on device"]
    assert hashes(path) == (sealed.sha256, sealed.stored_sha256)
    assert sealed.has_failed and sealed.problem == "no space left on device"


def fails_after(size: int):
    """The disk takes so many more bytes."""

    def write_all(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:size])
        raise OSError(errno.ENOSPC, "No space left on device")

    return write_all


def test_given_up_when_it_cannot_even_be_mended(file, path, monkeypatch):
    """The file stays torn, is read to its last whole line, and the hashes are of just that."""
    file.write(output("one"), to_disk=True)
    file.write(output("two"))
    monkeypatch.setattr(castfile, "mend", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only")))
    sealed = file.give_up("it is read-only")
    assert shown(path) == "onetwo"
    assert sealed.stored_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sealed.sha256 == hashlib.sha256(b"".join(open_cast(path))).hexdigest()


def test_given_up_without_a_file(path):
    file = CastFile(path, HEADER)
    sealed = file.give_up("permission denied")
    assert (sealed.sha256, sealed.has_failed, sealed.problem) == ("", True, "permission denied")


def test_it_goes_on_when_there_is_room_again(file, path, monkeypatch):
    require_program("zstd")
    file.write(output("one"))
    with monkeypatch.context() as broken:
        broken.setattr(castfile, "write_all", fails_after(7))
        with pytest.raises(OSError):
            file.write(output("two" * 1000))
    file.resume()
    file.write(output("three", at=9))
    sealed = file.close()
    assert shown(path) == "onethree"
    assert hashes(path) == (sealed.sha256, sealed.stored_sha256) and sealed.duration_s == 9


def test_it_goes_on_in_a_new_file_where_the_old_one_is_gone(file, path):
    file.write(output("one"))
    path.unlink()
    file.resume()
    file.write(output("two"))
    file.close()
    assert shown(path) == "two" and next(open_cast(path)) == HEADER


def test_it_begins_late(path):
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file where the folder should be")
    file = CastFile(path, HEADER)
    with pytest.raises(OSError):
        file.open()
    with pytest.raises(OSError):
        file.resume()
    path.parent.unlink()
    file.resume()
    file.write(output("one"))
    file.close()
    assert shown(path) == "one" and next(open_cast(path)) == HEADER
