"""A live terminal over a real tunnel: bytes exact in both directions, the window, the size, the exit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

import pytest
from websockets import ConnectionClosed

from tests.story.broker import Broker, soon
from tests.story.machine import Machine
from tests.story.terminal import Terminal, open_terminal, shell

pytestmark = pytest.mark.sshd
WINDOW = 128 * 1024
MOST = 512 * 1024
"""Of the window, when it has seen how fast a reader is."""
NOT_UTF8 = bytes(range(256)) + b"\xff\xfe\xc3\x28 \xed\xa0\x80 \xf0\x9f"


async def become(terminal: Terminal, program: str) -> None:
    """Replace the shell by a program behind a pty that changes no byte."""
    await terminal.run(f"stty raw -echo; printf 'BE''GIN'; exec {program}")
    await terminal.until(b"BEGIN")


def after_begin(terminal: Terminal) -> bytes:
    return bytes(terminal.output.partition(b"BEGIN")[2])


async def test_output_arrives_byte_for_byte(broker: Broker, web1: Machine, tmp_path: Path):
    """30 MB, far more than the ring, the window and the socket's buffers hold, and the last byte before the exit."""
    data = os.urandom(1024 * 1024) * 30
    (tmp_path / "data").write_bytes(data)
    async with shell(broker, "web1") as terminal:
        await become(terminal, f"cat {tmp_path / 'data'}")
        assert await terminal.closed(60) == 1000
        assert terminal.messages[-2] == {"type": "exit", "status": 0}
        arrived = after_begin(terminal)
    assert len(arrived) == len(data)
    assert hashlib.sha256(arrived).digest() == hashlib.sha256(data).digest()


async def test_input_arrives_byte_for_byte(broker: Broker, web1: Machine, tmp_path: Path):
    data = os.urandom(1024 * 1024)
    async with shell(broker, "web1") as terminal:
        await become(terminal, f"head -c {len(data)} > {tmp_path / 'data'}")
        await terminal.paste(data)
        assert await terminal.closed() == 1000
    assert (tmp_path / "data").read_bytes() == data


async def test_what_is_not_utf8_passes_both_ways(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        await become(terminal, f"head -c {len(NOT_UTF8)}")
        await terminal.send(NOT_UTF8)
        assert await terminal.closed() == 1000
        assert after_begin(terminal) == NOT_UTF8


async def test_one_message_of_a_single_byte_at_a_time(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        for byte in b"echo $((6 * 7))\r":
            await terminal.send(bytes([byte]))
        await terminal.until(b"42")


async def test_unacknowledged_output_is_held_back(broker: Broker, web1: Machine, tmp_path: Path):
    """At most the window is in flight, the remote program blocks, and acks let more of it through."""
    progress = tmp_path / "progress"
    async with shell(broker, "web1") as terminal:
        terminal.acks = False
        base = terminal.offset
        await terminal.ack()
        # `dd` says at its end how much it wrote; that it says nothing shows that it blocks.
        await become(terminal, f"dd if=/dev/zero bs=64k count=320 2> {progress}")
        await terminal.wait(lambda: terminal.offset >= base + WINDOW, "the window is full")
        await terminal.ping()
        assert terminal.offset == base + WINDOW
        assert broker.session(terminal.id)["state"] == "live"
        assert progress.read_bytes() == b""

        for _ in range(3):
            acked = terminal.offset
            await terminal.ack()
            # How much comes at once depends on what the broker holds already; the bound does not.
            await terminal.wait(lambda acked=acked: terminal.offset > acked, "more comes")
            await terminal.ping()
            assert terminal.offset <= acked + MOST
        assert progress.read_bytes() == b""

        terminal.acks = True
        await terminal.ack()
        assert await terminal.closed() == 1000
        assert len(after_begin(terminal)) == 320 * 64 * 1024
    assert b"20971520 bytes" in progress.read_bytes()


async def test_an_ack_beyond_what_was_sent_ends_the_connection(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        await terminal.control("ack", offset=terminal.offset + 1)
        assert await terminal.closed() == 4400
        assert "beyond what was sent" in terminal.close_reason
        assert broker.session(terminal.id)["state"] == "live"


async def test_input_that_nobody_reads_is_bounded(broker: Broker, web1: Machine):
    """A program that does not read takes no more than the input window, however fast somebody pastes."""
    async with shell(broker, "web1") as terminal:
        await become(terminal, "sleep 1000")
        acked, before = terminal.input_acked, broker.rss()
        with contextlib.suppress(ConnectionClosed):
            for _ in range(640):
                await terminal.send(bytes(32 * 1024))
        assert await terminal.closed() == 4400
        assert "unacknowledged input" in terminal.close_reason
        assert acked + 1024 * 1024 > terminal.input_acked
        assert broker.rss() - before < 4 * 1024 * 1024


async def test_the_size_reaches_the_program(broker: Broker, web1: Machine):
    async with shell(broker, "web1", cols=123, rows=45) as terminal:
        assert (terminal.attached["cols"], terminal.attached["rows"]) == (123, 45)
        await terminal.until_message("resized")  # attached as 80x24
        await terminal.run("stty size")
        await terminal.until(b"24 80")
        await terminal.control("resize", cols=101, rows=31)
        await terminal.wait(lambda: any(one.get("cols") == 101 for one in terminal.messages), "the new size is told")
        await terminal.run("stty size")
        await terminal.until(b"31 101")


@pytest.mark.parametrize(
    ("command", "told", "reason"),
    [
        ("exit 0", {"status": 0}, "the program ended with status 0"),
        ("exit 3", {"status": 3}, "the program ended with status 3"),
        ("kill -KILL $$", {"signal": "KILL"}, "the program was ended by signal KILL"),
    ],
)
async def test_how_the_program_ended(broker: Broker, web1: Machine, command: str, told: dict, reason: str):
    async with shell(broker, "web1") as terminal:
        await terminal.run(command)
        assert await terminal.closed() == 1000
        assert terminal.messages[-2] == {"type": "exit", **told}
        assert terminal.messages[-1] == {"type": "closing", "reason": reason, "retry_after": None}
        assert terminal.close_reason == reason
        assert broker.ended(terminal.id)["reason"] == reason


async def test_many_terminals_at_once_keep_apart(broker: Broker, web1: Machine):
    """More than sshd's ten sessions of one connection."""
    terminals = await asyncio.gather(*(open_terminal(broker, "web1") for _ in range(12)))
    try:
        for number, terminal in enumerate(terminals):
            await terminal.run(f"echo number $(({number} + 100)).")
        for number, terminal in enumerate(terminals):
            await terminal.until(f"number {number + 100}.".encode())
        assert len({terminal.id for terminal in terminals}) == 12
    finally:
        for terminal in terminals:
            await terminal.run("exit")
            await terminal.closed()
    ids = {terminal.id for terminal in terminals}
    await soon(lambda: all(broker.session(one)["state"] == "ended" for one in ids), "all have ended")
