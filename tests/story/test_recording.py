"""Recordings as a real broker makes them: what is in them, what never is, and what becomes of terminals without."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from terminals.recording.format import parse_line, read_frames
from tests.needs import require_program
from tests.story.accounts import account
from tests.story.broker import SCALE, Broker, running, soon, until
from tests.story.client import known_client
from tests.story.disk import Disk, small_disk
from tests.story.machine import LOGIN, PROMPT, Machine, machine, terminal_grant, terminal_host
from tests.story.screen import Screen
from tests.story.terminal import Terminal, open_socket, open_terminal, request_session, shell

pytestmark = pytest.mark.sshd


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for these tests. Whoever ends it starts it again."""
    with running(tmp_path_factory.mktemp("recorder") / "data") as made:
        yield made


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("lenient") / "data", BROKERD_RECORDING="best-effort") as made:
        yield made


@pytest.fixture(scope="module")
def tape1(recorder: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with terminal_host(tmp_path_factory.mktemp("machines"), "tape1", recorder) as made:
        yield made


@pytest.fixture(scope="module")
def tape2(lenient: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with terminal_host(tmp_path_factory.mktemp("machines"), "tape2", lenient) as made:
        yield made


@pytest.fixture
def disk(recorder: Broker, tape1: Machine) -> Iterator[Disk]:
    with small_disk(recorder) as made:
        yield made


def file_of(broker: Broker, session_id: str) -> Path:
    return until(lambda: list(broker.data_dir.glob(f"recordings/*/*/{session_id}.cast.zst")), "there is a file")[0]


def cast(path: Path) -> list[tuple[float, str, str]]:
    """Its events, though it may still be written."""
    with path.open("rb") as file:
        lines = [line for frame in read_frames(file) for line in frame.lines]
    return [parse_line(line) for line in lines[1:]]


def shown(path: Path) -> str:
    return "".join(text for _, kind, text in cast(path) if kind == "o")


def marks(path: Path) -> list[str]:
    return [text for _, kind, text in cast(path) if kind == "m"]


async def recording(broker: Broker, session_id: str) -> dict:
    """As REST shows it, once it is sealed."""

    def look() -> dict | None:
        found = broker.session(session_id)["recording"]
        return found if found["state"] != "recording" else None

    return await soon(look, "it is sealed")


def ended(broker: Broker, session_id: str) -> dict:
    events = [event for event in broker.audit("session.ended") if event["session"] == session_id]
    assert len(events) == 1, "a session ends once"
    return events[0]


def verify(broker: Broker) -> subprocess.CompletedProcess[str]:
    return broker.manage("verify_audit", "--recordings", check=False)


def in_a_terminal(command: str) -> str:
    whole = ["script", "-qec", command, "/dev/null"]
    environ = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(whole, capture_output=True, check=True, env=environ, timeout=30 * SCALE).stdout.decode()


async def test_a_session_from_start_to_end_played_by_asciinema(recorder: Broker, tape1: Machine, tmp_path: Path):
    require_program("asciinema")
    require_program("zstd")
    async with shell(recorder, "tape1") as terminal:
        assert terminal.attached["recorded"] is True
        await terminal.run("printf '\\033[1mna\\303\\257ve\\033[0m %s\\n' $((6*7))")
        await terminal.until(b"ve\x1b[0m 42")
        await terminal.control("resize", cols=100, rows=30)
        await terminal.until_message("resized")
        path = file_of(recorder, terminal.id)
        await soon(lambda: "42" in shown(path), "it is in the file while the terminal lives")
        await terminal.run("exit 3")
        assert await terminal.closed() == 1000
    sealed = await recording(recorder, terminal.id)
    facts = ended(recorder, terminal.id)["detail"]["recording"]
    plain = tmp_path / "it.cast"
    subprocess.run(["zstd", "-q", "-d", path, "-o", plain], check=True)
    digest = subprocess.run(["sha256sum", plain, path], capture_output=True, text=True, check=True).stdout.split()
    assert sealed == {"state": "sealed", "sha256": digest[0]}
    assert (facts["sha256"], facts["stored_sha256"]) == (digest[0], digest[2])
    assert ("r", "100x30") in [(kind, text) for _, kind, text in cast(path)]
    assert shown(path) == terminal.output.decode(), "no byte more or less than the browser was shown"
    # In a terminal of its own, which adds carriage returns.
    printed = in_a_terminal(f"asciinema cat {plain}")
    assert printed.replace("\r", "") == shown(path).replace("\r", "")
    assert "naïve" in in_a_terminal(f"asciinema play -s 100 {plain}")
    for one in (path, *path.parents[:3]):
        assert stat.S_IMODE(one.stat().st_mode) == (0o600 if one == path else 0o700)
    assert verify(recorder).returncode == 0


FLOODED = 6_000_000
"""Bytes: several times what may wait for a writer."""


def flood(seed: int) -> bytes:
    """Text in colour and in many scripts, and bytes that are no text, in pieces of all lengths."""
    chance = random.Random(seed)
    kinds = [
        lambda size: b'\x1b[32mdrwxr-xr-x\x1b[0m 2 root root 4096 "a\\folder"\r\n' * (size // 50),
        lambda size: "naïve 中文 строка 😀\t\x7f\u2028\r\n".encode() * (size // 40),
        lambda size: bytes(range(256)) * (size // 256),
        chance.randbytes,
    ]
    parts: list[bytes] = []
    while sum(map(len, parts)) < FLOODED:
        parts.append(chance.choice(kinds)(chance.randrange(200_000)) + chance.randbytes(chance.randrange(4)))
    return b"".join(parts)


def parting(one: Sequence[object], other: Sequence[object]) -> tuple[int, object, object] | None:
    """Where two begin to differ, with what stands around it; None where they do not."""
    if one == other:
        return None
    at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
    around = slice(max(0, at - 40), at + 40)
    return at, one[around], other[around]


async def flooded(broker: Broker, host: str, source: Path) -> Terminal:
    """A terminal that is over, in which all of the file was shown; it begins after `began`."""
    async with shell(broker, host) as terminal:
        await terminal.run(f"stty raw -echo && printf be''gan; cat {source}; stty sane; exit")
        assert await terminal.closed(60) == 1000
        return terminal


async def test_a_flood_is_the_same_in_the_source_the_browser_and_the_recording(
    recorder: Broker, tape1: Machine, tmp_path: Path
):
    """Two at a time, so that bytes of one could get into the other."""
    sources = [tmp_path / "one", tmp_path / "other"]
    for seed, source in enumerate(sources):
        source.write_bytes(flood(seed))
    terminals = await asyncio.gather(*(flooded(recorder, "tape1", source) for source in sources))
    for terminal, source in zip(terminals, sources, strict=True):
        sent, output = source.read_bytes(), bytes(terminal.output)
        begin = output.index(b"began") + len(b"began")
        assert terminal.skipped == 0
        assert parting(output[begin : begin + len(sent)], sent) is None
        await recording(recorder, terminal.id)
        assert parting(shown(file_of(recorder, terminal.id)), output.decode(errors="replace")) is None
    assert verify(recorder).returncode == 0


async def test_ended_by_a_command_in_another_process(recorder: Broker, tape1: Machine):
    async with shell(recorder, "tape1") as terminal:
        done = await asyncio.to_thread(recorder.manage, "end_sessions", "--person", "alice", "--reason", "enough")
        assert "1 terminal session ended" in done.stdout
        assert await terminal.closed() == 4410
    sealed = await recording(recorder, terminal.id)
    event = ended(recorder, terminal.id)
    assert event["detail"]["recording"]["sha256"] == sealed["sha256"] != ""
    assert (event["person"], event["detail"]["reason"]) == ("", "enough")


# What is never recorded


def holds(broker: Broker, secret: bytes) -> list[str]:
    """The files of the data directory in which it stands, as it is or compressed."""
    found = []
    for path in (path for path in broker.data_dir.rglob("*") if path.is_file()):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # of another test's terminal, gone meanwhile
            continue
        if path.suffix == ".zst":
            data = subprocess.run(["zstd", "-dc", path], capture_output=True, check=False).stdout
        if secret in data:
            found.append(str(path.relative_to(broker.data_dir)))
    return found


async def test_what_is_typed_without_echo_is_in_no_file(recorder: Broker, tape1: Machine):
    require_program("zstd")
    async with shell(recorder, "tape1") as terminal:
        await terminal.run("bash -c 'p=hid; read -s -p ${p}den: it; echo; echo length ${#it}'")
        await terminal.until(b"hidden:")
        await terminal.run("Xq7-planted-secret")
        await terminal.until(b"length 18")
        await terminal.run("echo planted-and-shown")
        await terminal.until(b"planted-and-shown\r\n")
    await recording(recorder, terminal.id)
    assert holds(recorder, b"planted-and-shown") == [str(file_of(recorder, terminal.id).relative_to(recorder.data_dir))]
    assert holds(recorder, b"planted-secret") == []


async def test_the_password_that_the_broker_asks_for_is_in_no_file(recorder: Broker, tmp_path: Path):
    require_program("zstd")
    with account() as person, machine(tmp_path, "tape3", recorder) as host:
        host.bring_up(terminal_grant("alice", person.login), ca=False, password=True)
        terminal = await open_terminal(recorder, "tape3", person.login)
        await terminal.until(b"password")
        await terminal.run("wrong-" + person.password)
        await terminal.wait(lambda: terminal.output.lower().count(b"password") > 1, "it is asked again")
        await terminal.run(person.password)
        await terminal.run("echo in$((1))side")
        await terminal.until(b"in1side")
        await terminal.run("exit")
        await terminal.closed()
    await recording(recorder, terminal.id)
    said = shown(file_of(recorder, terminal.id))
    assert "password" in said and "in1side" in said, "what was shown is there, the broker's question as well"
    assert holds(recorder, person.password.encode()) == []


# A broker that is lost, and one that stops


async def test_killed_it_has_all_but_the_last_moment(recorder: Broker, tape1: Machine):
    async with shell(recorder, "tape1") as terminal:
        await terminal.run("i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.02; done")
        await terminal.until(b"line-200\r\n")
        assert recorder.stop(signal.SIGKILL) == -signal.SIGKILL
        told = [int(number) for number in re.findall(rb"line-(\d+)\r", terminal.output)]
        path = file_of(recorder, terminal.id)
        recorder.start()
    kept = [int(number) for number in re.findall(r"line-(\d+)\r", shown(path))]
    assert kept == list(range(1, kept[-1] + 1)), "without a hole"
    lost_s = (told[-1] - kept[-1]) * 0.02
    assert lost_s < 2.5, "far less than the 5 s that a dead machine may cost"
    assert marks(path)[-1].startswith("the broker was lost here")
    row = recorder.session(terminal.id)
    assert (row["state"], row["reason"], row["recording"]["state"]) == ("ended", "broker lost", "sealed")
    assert ended(recorder, terminal.id)["detail"]["recording"]["sha256"] == row["recording"]["sha256"]
    done = verify(recorder)
    assert done.returncode == 0 and "recordings hold" in done.stdout, done.stderr
    tape1.wait_online(False)
    tape1.start_agent()
    tape1.wait_online()


async def test_stopped_it_seals_every_recording(recorder: Broker, tape1: Machine):
    terminals = [await open_terminal(recorder, "tape1") for _ in range(5)]
    for terminal in terminals:
        await terminal.run("echo the-$((1))-end")
        await terminal.until(b"the-1-end")
    assert await asyncio.to_thread(recorder.stop) == 0
    assert [await terminal.closed() for terminal in terminals] == [4503] * 5
    recorder.start()
    for terminal in terminals:
        row = recorder.session(terminal.id)
        assert (row["reason"], row["recording"]["state"]) == ("the broker is stopping", "sealed")
        assert "the-1-end" in shown(file_of(recorder, terminal.id)) and ended(recorder, terminal.id)
    assert verify(recorder).returncode == 0
    tape1.start_agent()
    tape1.wait_online()


async def test_a_changed_file_is_named(recorder: Broker, tape1: Machine):
    async with shell(recorder, "tape1") as terminal:
        await terminal.run("exit")
        await terminal.closed()
    await recording(recorder, terminal.id)
    path = file_of(recorder, terminal.id)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        done = verify(recorder)
        assert done.returncode == 1 and f"session {terminal.id}: its recording was changed" in done.stderr
    finally:
        path.write_bytes(whole)
    assert verify(recorder).returncode == 0


# Disks


async def test_required_and_the_disk_is_full(recorder: Broker, tape1: Machine, disk: Disk):
    async with shell(recorder, "tape1") as terminal:
        path = file_of(recorder, terminal.id)
        await soon(lambda: PROMPT.decode() in shown(path), "the prompt is in the file")
        disk.fill()
        await terminal.run("od /dev/urandom")
        assert await terminal.closed() == 4500
        assert terminal.close_reason == "this terminal could not be recorded: no space left on device"
    assert (await recording(recorder, terminal.id))["state"] == "failed"
    failed = [event for event in recorder.audit("recording.failed") if event["session"] == terminal.id]
    assert [event["detail"]["reason"] for event in failed] == ["no space left on device"]
    assert ended(recorder, terminal.id)["detail"]["recording"]["stored_sha256"]
    assert PROMPT.decode() in shown(path)

    body = {"host": "tape1", "login": LOGIN}
    refused = await asyncio.to_thread(recorder.call, "POST", "/api/v1/sessions", body, "alice")
    assert refused.status == 503 and refused.headers["Retry-After"], "nor does another one open"
    assert "nothing can be now: no space left on device" in refused.json["detail"]
    assert recorder.call("GET", "/readyz").json["recordings"] is False
    assert "no space left" in recorder.audit("session.refused")[0]["detail"]["reason"]
    disk.empty()
    async with shell(recorder, "tape1") as again:
        assert again.attached["recorded"] is True


async def test_required_and_the_folder_is_read_only(recorder: Broker, tape1: Machine, disk: Disk):
    disk.remount("ro")
    body = {"host": "tape1", "login": LOGIN}
    refused = await asyncio.to_thread(recorder.call, "POST", "/api/v1/sessions", body, "alice")
    assert refused.status == 503 and "nothing can be now: read-only file system" in refused.json["detail"]


async def test_required_and_there_is_no_folder_to_write_in(recorder: Broker, tape1: Machine, disk: Disk):
    """Which only who tries finds out."""
    (disk.folder / time.strftime("%Y", time.gmtime())).write_text("in the way")
    opened = await request_session(recorder, "tape1")
    terminal = Terminal(await open_socket(opened["socket"], recorder), opened["id"])
    await terminal.control("attach", ticket=opened["ticket"], cols=80, rows=24, output_offset=None, input_offset=None)
    assert await terminal.closed() == 4500
    assert terminal.close_reason == "this terminal could not be recorded: file exists"
    assert terminal.output == b""
    assert (await recording(recorder, terminal.id))["state"] == "failed"


async def test_required_and_the_folder_goes_while_it_runs(recorder: Broker, tape1: Machine, disk: Disk):
    """The file that is open takes what is written, and nobody would ever find it."""
    async with shell(recorder, "tape1") as terminal:
        file_of(recorder, terminal.id).parent.rename(disk.folder / "elsewhere")
        await terminal.run("echo more")
        assert await terminal.closed() == 4500
        assert "could not be recorded: no such file or directory" in terminal.close_reason


def test_who_sits_at_stock_ssh_is_told(recorder: Broker, tape1: Machine, disk: Disk, tmp_path: Path):
    screen = Screen(known_client(tmp_path / "alice", recorder), f"{LOGIN}@tape1")
    screen.shows(PROMPT)
    session = recorder.api("GET", "/sessions?live=1&mine=1", person="alice")["items"][0]
    path = file_of(recorder, session["id"])
    until(lambda: PROMPT.decode() in shown(path), "it is recorded like a browser's")
    disk.fill()
    screen.type(b"od /dev/urandom\n")
    screen.shows(b"brokerd: this terminal could not be recorded: no space left on device")
    assert screen.process.wait(30 * SCALE) == 255


async def test_best_effort_it_goes_on_with_a_gap(lenient: Broker, tape2: Machine):
    with small_disk(lenient) as disk:
        async with shell(lenient, "tape2") as terminal:
            path = file_of(lenient, terminal.id)
            await soon(lambda: PROMPT.decode() in shown(path), "the prompt is in the file")
            disk.fill()
            await terminal.run("od /dev/urandom | head -c 3000000 | tail -c 300000; echo un$((1))recorded")
            await terminal.wait(lambda: "notice" in terminal.kinds, "the viewers are told")
            assert "not recorded now: no space left on device" in (await terminal.until_message("notice"))["text"]
            await terminal.until(b"un1recorded")
            disk.empty()
            await terminal.wait(lambda: "recorded again" in str(terminal.messages), "it goes on")
            await terminal.run("echo re$((1))corded")
            await terminal.until(b"re1corded")
            await terminal.run("exit")
            await terminal.closed()
        sealed = await recording(lenient, terminal.id)
        assert sealed["state"] == "sealed"
        assert "re1corded" in shown(path) and "un1recorded" not in shown(path)
        assert [mark for mark in marks(path) if "bytes of output are missing here: no space left on device" in mark]
        assert [event["session"] for event in lenient.audit("recording.failed")].count(terminal.id) >= 1
        done = verify(lenient)
        assert done.returncode == 0, done.stderr
