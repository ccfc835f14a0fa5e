"""Whoever does not read or does not write stops the other side, not fills the agent's memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from .stand_in import Gateway
from .waiting import patient, until

HUGE_WINDOW = 0x7FFFFFFF
MEGABYTE = 1_000_000


async def settled(number: Callable[[], int]) -> int:
    """The value of `number()` once it has not changed for a while."""
    loop = asyncio.get_running_loop()
    value, since = number(), loop.time()
    async with patient():
        while loop.time() - since < 0.4:
            await asyncio.sleep(0.01)
            if number() != value:
                value, since = number(), loop.time()
    return value


def flood(counter: Path) -> str:
    """A command that writes without end and counts 64 KiB blocks in `counter`, one byte each."""
    return f"while head -c 65536 /dev/zero; do printf x >>{counter}; done"


def blocks(counter: Path) -> int:
    return counter.stat().st_size * 65536 if counter.exists() else 0


@pytest.mark.parametrize("terminal", [{}, {"term_type": "xterm"}], ids=["pipes", "pty"])
async def test_reader_that_stops_stops_the_program(shell: Gateway, tmp_path: Path, terminal: dict[str, Any]) -> None:
    counter = tmp_path / "counter"
    async with await shell.log_in() as conn:
        process = await conn.create_process(flood(counter), encoding=None, window=128 * 1024, **terminal)
        await until(lambda: blocks(counter), "the flood")
        written = await settled(lambda: blocks(counter))
        assert 0 < written < MEGABYTE
        async with patient():
            await process.stdout.readexactly(written + MEGABYTE)
        assert blocks(counter) > written
        process.close()


@pytest.mark.parametrize("terminal", [{}, {"term_type": "xterm"}], ids=["pipes", "pty"])
async def test_broker_that_grants_endless_windows_and_never_reads(
    shell: Gateway, tmp_path: Path, terminal: dict[str, Any]
) -> None:
    counter = tmp_path / "counter"
    shell.window = HUGE_WINDOW
    tunnel = await shell.up()
    async with await shell.log_in() as conn:
        process = await conn.create_process(flood(counter), encoding=None, window=HUGE_WINDOW, **terminal)
        await until(lambda: blocks(counter), "the flood")
        tunnel._transport.pause_reading()
        written = await settled(lambda: blocks(counter))
        assert written < 20 * MEGABYTE  # the kernel's socket buffers, and little of ours
        tunnel._transport.resume_reading()
        await until(lambda: blocks(counter) > written + MEGABYTE, "the flood to go on")
        process.close()


async def test_program_that_reads_nothing_stops_the_client(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        process = await conn.create_process("sleep 1000", encoding=None)
        process.stdin.write(bytes(10 * MEGABYTE))
        unsent = await settled(process.stdin.channel.get_write_buffer_size)
        assert 10 * MEGABYTE - unsent < MEGABYTE
        process.close()


async def test_program_that_reads_slowly_never_has_much_waiting(shell: Gateway, tmp_path: Path) -> None:
    counter, size = tmp_path / "counter", 6 * MEGABYTE
    command = f"while [ $(head -c 65536 | wc -c) -gt 0 ]; do printf x >>{counter}; done"
    worst = 0
    async with await shell.log_in() as conn, patient():
        process = await conn.create_process(command, encoding=None)
        process.stdin.write(bytes(size))
        process.stdin.write_eof()
        while process.returncode is None:
            sent = size - process.stdin.channel.get_write_buffer_size()
            worst = max(worst, sent - blocks(counter))
            await asyncio.sleep(0.002)
        assert (await process.wait()).exit_status == 0
    assert blocks(counter) >= size
    assert worst < MEGABYTE


async def test_terminal_that_takes_no_input_stops_the_client(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        process = await conn.create_process("stty raw -echo; echo on; sleep 1000", encoding=None, term_type="xterm")
        assert (await process.stdout.readuntil(b"on")).endswith(b"on")
        process.stdin.write(bytes(2 * MEGABYTE))
        unsent = await settled(process.stdin.channel.get_write_buffer_size)
        assert 2 * MEGABYTE - unsent < MEGABYTE
        process.close()


async def test_all_typed_bytes_arrive_in_order(shell: Gateway) -> None:
    data = os.urandom(3 * MEGABYTE)
    async with await shell.log_in() as conn, patient():
        done = await conn.run("cat", input=data, encoding=None)
    assert isinstance(done, asyncssh.SSHCompletedProcess)
    assert done.stdout == data
