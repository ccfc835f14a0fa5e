"""Programs on a terminal and on pipes, without any SSH."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tunnels.agent import reaper
from tunnels.agent.account import Account, may_pass, own_account
from tunnels.agent.process import Process, Program, Pty
from tunnels.agent.session import signal_name

from .stand_in import open_descriptors
from .waiting import patient, until

SIZE = (80, 24, 0, 0)
TERMINAL = Pty(SIZE, {})


class Ear:
    """Hears what a process tells its owner."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.returncode: int | None = None

    def output(self, data: bytes, from_stderr: bool) -> None:
        if from_stderr:
            self.err += data
        else:
            self.out += data

    def exited(self, returncode: int) -> None:
        assert self.returncode is None
        self.returncode = returncode

    def input_taken(self) -> None:
        pass

    async def ended(self) -> int:
        await until(lambda: self.returncode is not None, lambda: f"the end; so far {self.out!r}")
        assert self.returncode is not None
        return self.returncode


def start(command: str, pty: Pty | None = None, **changes: Any) -> tuple[Process, Ear]:
    ear = Ear()
    environment = own_account().environment({})
    facts: dict[str, Any] = {"path": "/bin/sh", "argv": ["sh", "-c", command], "environment": environment}
    return Process(Program(**{**facts, "directory": "/", "pty": pty, **changes}), ear, hangup_s=0.2), ear


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() <= before


OF_THE_C_LIBRARY = 0b11 << 31
"""Signals 32 and 33 in a mask: glibc keeps them for its threads and lets no program touch them."""


async def test_program_inherits_no_descriptor_and_default_signals(tmp_path: Any) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            leak = f"test -e /proc/$$/fd/{secret.fileno()} && echo leaked"
            _, ear = start(f"{leak}; grep -E 'Sig(Ign|Blk)' /proc/self/status")
            assert await ear.ended() == 0
        finally:
            signal.signal(signal.SIGUSR1, before)
    _, blocked, _, ignored = ear.out.split()
    assert int(blocked, 16) == 0
    assert int(ignored, 16) & ~OF_THE_C_LIBRARY == 0


@pytest.mark.parametrize("pty", [None, TERMINAL], ids=["pipes", "pty"])
async def test_program_that_cannot_be_started(pty: Pty | None) -> None:
    with pytest.raises(OSError):
        start("true", pty, path="/no/such/shell")


async def test_terminal_ends_with_its_leader_whoever_stays_behind() -> None:
    for behind in ("sleep 1000", "yes"):
        _, ear = start(f"trap '' HUP; {behind} & echo $! end", TERMINAL)
        assert await ear.ended() == 0
        words = ear.out.replace(b"y\r\n", b"").split()
        assert b"end" in words
        with suppress(ProcessLookupError):  # `yes` ends by itself once nobody has the terminal
            os.kill(int(words[words.index(b"end") - 1]), signal.SIGKILL)


async def test_pipes_end_when_nobody_holds_them_any_more() -> None:
    _, ear = start("echo early; (sleep 0.1; echo late) &")
    assert await ear.ended() == 0
    assert ear.out == b"early\nlate\n"


async def test_end_of_input_on_a_terminal() -> None:
    process, ear = start("cat", TERMINAL)
    process.write(b"line\n")
    await until(lambda: b"line" in ear.out, "the echo")
    process.write_eof()
    assert await ear.ended() == 0


async def test_modes_are_set() -> None:
    modes = {53: 0, 3: 8, 72: 0, 4: 255}  # ECHO off, VERASE = ^H, ONLCR off, no VKILL
    _, ear = start("stty -a", Pty((132, 43, 0, 0), modes))
    assert await ear.ended() == 0
    for fact in (b"rows 43; columns 132", b" -echo ", b"erase = ^H", b"-onlcr", b"kill = <undef>", b" iutf8"):
        assert fact in ear.out


async def test_hang_up_ends_politely_first_and_then_by_force() -> None:
    process, ear = start("trap 'echo bye >/dev/null; exit 0' HUP; echo on; while :; do sleep 0.01; done", TERMINAL)
    await until(lambda: b"on" in ear.out, "the start")
    process.hang_up()
    process.hang_up()
    async with patient():
        await process.reaped.wait()
    assert ear.returncode is None  # nobody is there to hear of it

    process, ear = start("trap '' HUP; echo on; while :; do sleep 0.01; done")
    await until(lambda: b"on" in ear.out, "the start")
    process.hang_up()
    async with patient():
        await process.reaped.wait()


async def test_after_the_end_everything_is_harmless() -> None:
    process, ear = start("exit 7", TERMINAL)
    assert await ear.ended() == 7
    process.write(b"x")
    process.write_eof()
    process.resize(SIZE)
    process.hold_output()
    process.release_output()
    process.send_signal(signal.SIGTERM)
    process.hang_up()


async def test_held_output_waits_even_past_the_exit() -> None:
    for pty in (None, TERMINAL):
        process, ear = start("sleep 0.02; echo done", pty)
        process.hold_output()
        async with patient():
            await process.reaped.wait()
        assert (ear.out, ear.returncode) == (b"", None)
        process.release_output()
        assert await ear.ended() == 0
        assert ear.out.split() == [b"done"]


async def test_program_that_closes_its_input_does_not_hurt() -> None:
    process, ear = start("exec <&-; echo closed; sleep 0.05; exit 2")
    await until(lambda: ear.out, "the start")
    assert process.write(b"x" * 100_000)
    process.write_eof()
    assert await ear.ended() == 2


async def test_reaping_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(reaper.os, "pidfd_open")
    _, ear = start("kill -TERM $$")
    assert await ear.ended() == -signal.SIGTERM


def test_signal_names() -> None:
    assert [signal_name(number) for number in (9, signal.SIGBUS, 999)] == ["KILL", "BUS@openssh.com", "999@brokerd"]


@pytest.mark.parametrize(
    ("key", "value", "passes"),
    [
        (b"LANG", b"C.UTF-8", True),
        (b"LC_TIME", b"C", True),
        (b"TERM", b"xterm", True),
        (b"LC_", b"C", False),
        (b"LD_PRELOAD", b"x", False),
        (b"LANGUAGE", b"x", False),
        (b"LANG", b"x" * 300, False),
        (b"LANG", b"a\0b", False),
    ],
)
def test_what_a_client_may_set(key: bytes, value: bytes, passes: bool) -> None:
    assert may_pass(key, value) is passes


def test_account_without_a_home_starts_at_the_root() -> None:
    account = Account("pi", "/no/such/home", "/bin/sh", is_root=False)
    assert account.directory == "/"
    environment = account.environment({b"HOME": b"/evil", b"LANG": b"C"})
    assert environment[b"HOME"] == b"/no/such/home" and environment[b"LANG"] == b"C"
    assert b"sbin" not in environment[b"PATH"]
