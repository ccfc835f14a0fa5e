"""The login shell, through a real tunnel, as the broker uses it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.account import own_account

from .stand_in import Gateway
from .waiting import patient, until

SLEEP = b"sh -c 'echo go; exec sleep 1000'\n"
"""Says go once its own child, and no half-started copy of the shell, would take a ^C."""
PTY = {"term_type": "xterm-256color", "term_size": (80, 24), "encoding": None}


async def read_until(process: asyncssh.SSHClientProcess[bytes], wanted: bytes) -> bytes:
    seen = b""
    try:
        async with patient():
            while wanted not in seen:
                chunk = await process.stdout.read(65536)
                assert chunk, f"ended without {wanted!r}: {seen!r}"
                seen += chunk
    except TimeoutError:
        raise AssertionError(f"waited in vain for {wanted!r}: {seen!r}") from None
    return seen


async def run(conn: asyncssh.SSHClientConnection, command: str, **options: object) -> asyncssh.SSHCompletedProcess:
    async with patient():
        return await conn.run(command, **{"encoding": None, **options})


async def test_shell_echoes_what_is_typed(shell: Gateway) -> None:
    async with await shell.log_in() as conn, conn.create_process(**PTY) as process:
        process.stdin.write(b"echo $((40+2))-$USER\n")
        assert f"42-{own_account().login}".encode() in await read_until(process, b"42-")
        process.stdin.write(b"exit 3\n")
        assert (await process.wait()).exit_status == 3


async def test_shell_is_a_login_shell_in_the_home_with_a_clean_environment(
    shell: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKERD_TOKEN", "secret")
    async with await shell.log_in() as conn, conn.create_process(**PTY) as process:
        process.stdin.write(b"echo [$0]; pwd; env; echo en''d\n")
        text = await read_until(process, b"end")
    account = own_account()
    assert f"[-{Path(account.shell).name}]".encode() in text
    assert f"HOME={account.home}".encode() in text and account.directory.encode() in text
    assert b"TERM=xterm-256color" in text and b"SSH_TTY=/dev/pts/" in text
    assert b"secret" not in text


@pytest.mark.parametrize(("command", "status"), [("true", 0), ("exit 3", 3), ("no-such-command-here", 127)])
async def test_exec_answers_the_exit_status(shell: Gateway, command: str, status: int) -> None:
    async with await shell.log_in() as conn:
        assert (await run(conn, command)).exit_status == status


async def test_exec_answers_the_exit_signal(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        assert (await run(conn, "kill -TERM $$")).exit_signal[0] == "TERM"
        assert (await run(conn, "kill -KILL $$", term_type="xterm")).exit_signal[0] == "KILL"


async def test_exec_keeps_stderr_apart_and_passes_eof(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        done = await run(conn, "cat; echo oops >&2", input=b"\xff\xfe\x00data")
    assert (done.stdout, done.stderr, done.exit_status) == (b"\xff\xfe\x00data", b"oops\n", 0)


async def test_invalid_utf8_passes_both_ways_on_a_terminal(shell: Gateway) -> None:
    async with await shell.log_in() as conn, conn.create_process("stty raw -echo; echo on; cat", **PTY) as process:
        await read_until(process, b"on")
        process.stdin.write(b"\xc3\x28\xff\xfe|")
        assert b"\xc3\x28\xff\xfe|" in await read_until(process, b"|")


async def test_size_and_its_changes_reach_the_terminal(shell: Gateway) -> None:
    async with await shell.log_in() as conn, conn.create_process(**PTY) as process:
        process.stdin.write(b"stty size\n")
        await read_until(process, b"24 80")
        process.change_terminal_size(132, 43)
        process.stdin.write(b"stty size\n")
        await read_until(process, b"43 132")


async def test_output_before_the_exit_is_complete(shell: Gateway) -> None:
    size = 5_000_000
    command = f"head -c {size} /dev/urandom | tee >(sha256sum >&2) | cat; wait"
    async with await shell.log_in() as conn:
        done = await run(conn, f"bash -c '{command}'")
    assert len(done.stdout) == size
    assert hashlib.sha256(done.stdout).hexdigest().encode() in done.stderr


async def test_output_before_the_exit_is_complete_on_a_terminal(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        for _ in range(5):
            done = await run(conn, "seq 1 20000; echo la''st", term_type="xterm")
            assert done.stdout.endswith(b"20000\r\nlast\r\n")
            assert done.stdout.count(b"\n") == 20001


async def test_interrupt_stops_a_foreground_program_and_a_flood(shell: Gateway) -> None:
    async with await shell.log_in() as conn, conn.create_process(**PTY, window=128 * 1024) as process:
        process.stdin.write(SLEEP)
        await read_until(process, b"go\r\n")
        process.stdin.write(b"\x03")
        process.stdin.write(b"echo status $?''.\n")
        await read_until(process, b"status 130.")
        process.stdin.write(b"yes\n")
        await read_until(process, b"y\r\ny\r\n")
        process.stdin.write(b"\x03")
        process.stdin.write(b"echo do''ne\n")
        await read_until(process, b"done\r\n")


async def test_signals_reach_the_program(shell: Gateway) -> None:
    async with (
        await shell.log_in() as conn,
        conn.create_process(
            "trap 'echo got; exit 5' USR1; echo on; while :; do sleep 0.02; done", encoding=None
        ) as one,
    ):
        await read_until(one, b"on")
        one.send_signal("USR1")
        await read_until(one, b"got")
        assert (await one.wait()).exit_status == 5


async def test_only_language_variables_are_taken(shell: Gateway) -> None:
    asked = {"LANG": "C.UTF-8", "LC_ALL": "C", "LD_PRELOAD": "/evil.so", "PATH": "/evil", "BASH_ENV": "/evil"}
    async with await shell.log_in() as conn:
        text = (await run(conn, "env", env=asked)).stdout
    assert b"LANG=C.UTF-8" in text and b"LC_ALL=C" in text
    assert b"evil" not in text


async def test_two_sessions_share_a_connection_and_the_last_place_is_the_last(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        processes = [await conn.create_process("cat", encoding=None) for _ in range(20)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.create_process("true")
        processes[0].stdin.write(b"still here\n")
        await read_until(processes[0], b"still here")
        for process in processes:
            process.stdin.write_eof()
        for process in processes:
            assert (await process.wait()).exit_status == 0
        assert (await run(conn, "echo free")).stdout == b"free\n"


async def test_a_closed_channel_hangs_up_even_a_stubborn_program(shell: Gateway) -> None:
    async with await shell.log_in() as conn:
        process = await conn.create_process("trap '' HUP TERM; echo $$; while :; do sleep 0.05; done", **PTY)
        pid = int((await read_until(process, b"\n")).split()[0])
        assert is_running(pid)
        process.close()
        await until(lambda: not is_running(pid), "the program's end")


async def test_a_lost_tunnel_hangs_up_all_sessions(shell: Gateway) -> None:
    conn = await shell.log_in()
    process = await conn.create_process("echo $$; exec sleep 1000", **PTY)
    pid = int((await read_until(process, b"\n")).split()[0])
    assert shell.tunnel is not None
    shell.tunnel.abort()
    await until(lambda: not is_running(pid), "the program's end")


def is_running(pid: int) -> bool:
    """False for a zombie's end too: it must have been reaped."""
    return Path(f"/proc/{pid}").exists()


async def test_echo_is_quick(shell: Gateway) -> None:
    async with await shell.log_in() as conn, conn.create_process("stty raw -echo; echo on; cat", **PTY) as process:
        await read_until(process, b"on")
        loop, times = asyncio.get_running_loop(), []
        for _ in range(50):
            began = loop.time()
            process.stdin.write(b"x")
            await process.stdout.readexactly(1) if times else await read_until(process, b"x")
            times.append(loop.time() - began)
    assert sorted(times)[25] < 0.02
