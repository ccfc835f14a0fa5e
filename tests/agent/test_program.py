"""The program itself, as a process: what people and init systems see."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .stand_in import Gateway, Portal
from .test_shell import PTY, SLEEP, read_until
from .waiting import patient, until

ROOT = Path(__file__).parents[2]


def ignore_interrupts() -> None:
    """As a shell without job control does to its background jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)


@asynccontextmanager
async def program(*arguments: str, home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tunnels.agent",
        *arguments,
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=ignore_interrupts,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: asyncio.subprocess.Process, words: str) -> str:
    assert process.stdout is not None
    async with patient():
        while line := (await process.stdout.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"ended without {words!r}")


async def test_from_start_to_stop(tmp_path: Path, portal: Portal, gateway: Gateway) -> None:
    async with program("--broker", portal.url, "--name", "box", home=tmp_path) as agent:
        await line_with(agent, "next: an admin compares both")
        portal.state = "approved"
        await line_with(agent, "tunnel up as box")
        async with await gateway.log_in() as conn, conn.create_process(**PTY) as process:
            process.stdin.write(SLEEP)
            await read_until(process, b"go\r\n")
            process.stdin.write(b"\x03")  # although the agent was started with SIGINT ignored
            process.stdin.write(b"echo status $? pid $$''.; trap '' HUP\n")
            text = await read_until(process, b".\r\n")
            assert b"status 130 pid" in text
            pid = int(text.split(b" pid ")[-1].split(b".")[0])

            async with program("--broker", portal.url, "--name", "box", home=tmp_path) as second:
                out, err = await second.communicate()
                assert (second.returncode, out) == (1, b"")
                assert err.startswith(b"brokerd-agent: another agent uses") and err.count(b"\n") == 1

            agent.terminate()
            await line_with(agent, "stopped")
            async with patient():
                assert await agent.wait() == 0
            await until(lambda: not Path(f"/proc/{pid}").exists(), "the shell's end")
    await until(lambda: gateway.endings, "the tunnel's end")
    assert gateway.endings == [None]


async def test_refusal_is_one_line(tmp_path: Path, portal: Portal) -> None:
    portal.answer_with = (403, {"detail": "this token does not open the door"}, {})
    async with program("--broker", portal.url, "--name", "box", "--token", "t", home=tmp_path) as agent:
        out, err = await agent.communicate()
    assert (agent.returncode, out) == (1, b"")
    assert err == b"brokerd-agent: enrollment refused: this token does not open the door\n"
