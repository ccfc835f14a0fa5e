"""A shared terminal: the user in front of it decides who sees and who types, and is never held up by them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.__main__ import main
from tunnels.agent.frames import BadFrame, Frames, Kind, frame, frames
from tunnels.agent.stage import CHUNK, RING, Ring, Stage, open_to_shares
from tunnels.agent.state import State

from .sharing import ESCAPE, User
from .stand_in import Gateway, Portal
from .test_lifecycle import Running
from .test_shell import PTY, read_until
from .waiting import patient, until


@pytest.fixture
async def agent(portal: Portal, gateway: Gateway, state_dir: Path) -> AsyncIterator[Running]:
    """One that runs already."""
    portal.state = "approved"
    running = Running(portal, state_dir)
    async with running.started():
        await running.said("tunnel up")
        yield running


async def shared(user: User) -> None:
    await user.sees("this terminal is shared")
    user.type("PS1='user''$ '\r")
    await user.sees("user$ ")


async def joined(gateway: Gateway, **changes: object) -> asyncssh.SSHClientProcess[bytes]:
    conn = await gateway.log_in(**changes)
    return await conn.create_process(**PTY, window=64 * 1024)


async def let_in(user: User, gateway: Gateway, key: str = "y", may: str = "") -> asyncssh.SSHClientProcess[bytes]:
    """Somebody who asked, and was answered with this key of the menu; `may` is what the user is told they may do."""
    alice = await joined(gateway)
    await user.sees("wants in")
    user.type(f"{ESCAPE}{key}")
    await user.sees(f"{may} is here now".strip())
    return alice


async def both_are_let_in(user: User, key: str) -> None:
    """Two who asked at once, one after the other."""
    for words, answer in (("wants in", ""), ("wants in", f"{ESCAPE}{key}"), ("is here now", f"{ESCAPE}{key}")):
        await user.sees(words)
        user.type(answer)
    await user.sees("is here now")


def once_it_is(size: str) -> str:
    """Typed, it shows the size of the terminal: who joins makes it another one for a moment."""
    return f"until stty size | grep -q '^{size.replace(' ', '.')}$'; do sleep 0.1; done; stty size\r"


async def only_watches(viewer: asyncssh.SSHClientProcess[bytes], user: User) -> None:
    viewer.stdin.write(b"echo in''truder\r")
    user.type("echo us''er\r")
    assert b"intruder" not in await read_until(viewer, b"user\r\n")


async def has_a_shell(gateway: Gateway) -> None:
    """Of one's own: nothing is shared."""
    alice = await joined(gateway)
    alice.stdin.write(b"echo my-''own\r")
    await read_until(alice, b"my-own")


async def test_who_joins_is_named_asked_for_and_shown_the_same_terminal(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        user.type("echo be''fore\r")
        await user.sees("before\r\n")
        alice = await joined(gateway)
        await read_until(alice, b"is asked to let you in")
        await user.sees("alice/session-1 wants in")
        alice.stdin.write(b"echo too-early\r")
        user.type(f"{ESCAPE}y")
        await user.sees("alice/session-1 (types) is here now")
        assert b"too-early" not in await read_until(alice, b"before\r\n"), "what was shown before is shown again"
        alice.stdin.write(b"echo fr''om-alice\r")
        await read_until(alice, b"from-alice")
        await user.sees("from-alice")
        user.type(once_it_is("24 80"))
        await read_until(alice, b"24 80")
        user.type("exit 5\r")
        assert "not shared any more" in (await read_until(alice, b"any more")).decode()
        assert (await alice.wait()).exit_status == 0
        assert await user.ended() == 5
        assert user.is_restored()


async def test_only_watching(agent: Running, portal: Portal, gateway: Gateway, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        alice = await let_in(user, gateway, "w", "(watches)")
        await only_watches(alice, user)


async def test_a_share_that_is_read_only_lets_nobody_type(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    with User(portal.url, state_dir, "--read-only") as user:
        await shared(user)
        alice = await let_in(user, gateway, "y", "(watches)")
        await only_watches(alice, user)


async def test_refused_and_removed(agent: Running, portal: Portal, gateway: Gateway, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        alice = await joined(gateway)
        await user.sees("wants in")
        user.type(f"{ESCAPE}n")
        await read_until(alice, b"you were not let in")
        assert (await alice.wait()).exit_status == 1
        user.type("secret\r")
        alice, bob = await joined(gateway), await joined(gateway)
        await both_are_let_in(user, "y")
        user.type(f"{ESCAPE}l")
        await user.sees("1 alice/session-1 (types), 2 alice/session-1 (types)")
        user.type(f"{ESCAPE}1")
        await read_until(alice, b"you were removed")
        user.type("echo still-''here\r")
        await read_until(bob, b"still-here")
        bob.close()
        await user.sees("has left")
        user.type(f"{ESCAPE}l")
        await user.sees("nobody is here but you")


async def test_the_key_for_the_menu_can_be_typed(agent: Running, portal: Portal, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        user.type(f"{ESCAPE}?")
        await user.sees("leaving the shell ends it")
        user.type("stty -echo; echo g''o; cat -v\r")
        await user.sees("go\r\n")
        user.type(f"<{ESCAPE}{ESCAPE}>\r")
        await user.sees("<^]>\r\n")


async def test_the_window_is_the_users(agent: Running, portal: Portal, gateway: Gateway, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        alice = await let_in(user, gateway)
        alice.change_terminal_size(10, 10)
        user.resize(30, 100)
        user.type(once_it_is("30 100"))
        await user.sees("30 100")


async def test_a_joiner_who_does_not_read_holds_nobody_up(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        slow, quick = await joined(gateway), await joined(gateway)
        await both_are_let_in(user, "w")
        slow.channel.pause_reading()
        user.type("head -c 1500000 /dev/zero | tr '\\0' x; echo; echo do''ne\r")
        await user.sees("done\r\n")
        await read_until(quick, b"done\r\n")
        slow.channel.resume_reading()
        text = await read_until(slow, b"done\r\n")
        assert b"some output was skipped" in text and len(text) < 1_000_000


async def test_the_terminal_is_put_back_when_it_is_killed(agent: Running, portal: Portal, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        assert not user.is_restored()
        (child,) = user.children()
        os.kill(child, signal.SIGKILL)
        assert await user.ended() == 128 + signal.SIGKILL
        assert user.is_restored()


async def test_told_to_stop_it_stops(agent: Running, portal: Portal, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        user.process.terminate()
        assert await user.ended() == 128 + signal.SIGTERM
        assert user.is_restored()


async def test_an_agent_of_its_own_serves_that_terminal_and_nothing_else(
    portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    portal.state = "approved"
    with User(portal.url, state_dir) as user:
        await shared(user)
        await gateway.up()
        alice = await let_in(user, gateway)
        alice.stdin.write(b"echo fr''om-alice\r")
        await user.sees("from-alice")
        async with await gateway.log_in() as conn:
            with pytest.raises(asyncssh.ChannelOpenError):
                await conn.run("id")
        user.type("exit\r")
        assert await user.ended() == 0
    await until(lambda: gateway.tunnel is None, "its end")


async def test_without_a_share_a_shell_is_a_shell_again(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        user.type("exit\r")
        await user.ended()
    await has_a_shell(gateway)


async def test_an_agent_that_goes_away_and_comes_back(portal: Portal, gateway: Gateway, state_dir: Path) -> None:
    portal.state = "approved"
    running = Running(portal, state_dir)
    with ExitStack() as stack:
        async with running.started():
            await running.said("tunnel up")
            user = stack.enter_context(User(portal.url, state_dir))
            await shared(user)
        await user.sees("the agent is gone: nobody else sees this terminal now")
        user.type("echo st''ill\r")
        await user.sees("still")
        async with running.started():
            await user.sees("this terminal is shared")
            alice = await joined(gateway)
            await user.sees("wants in")
            user.type(f"{ESCAPE}y")
            await user.sees("is here now")
            user.type("echo ag''ain\r")
            await read_until(alice, b"again")


async def test_an_agent_that_stops_holds_nobody_up_and_gets_the_newest(portal: Portal, state_dir: Path) -> None:
    goes_on, got = asyncio.Event(), bytearray()

    async def stopped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(Kind.OPEN))
        await goes_on.wait()
        while data := await reader.read(65536):
            got.extend(data)

    with State(state_dir):  # no other agent takes its place
        server = await asyncio.start_unix_server(stopped, state_dir / "share.sock", limit=1024)
        with User(portal.url, state_dir) as user:
            await shared(user)
            user.type("head -c 2000000 /dev/zero | tr '\\0' x; echo; echo do''ne\r")
            await user.sees("done\r\n")
            goes_on.set()
            await until(lambda: b"done\r\n" in got, "the end of it")
            assert b"some output was skipped" in got and len(got) < 1_500_000
        server.close()


async def test_who_may_type_cannot_answer_for_the_user(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    with User(portal.url, state_dir) as user:
        await shared(user)
        alice = await let_in(user, gateway)
        bob = await joined(gateway)
        await user.sees("wants in")
        alice.stdin.write(f"{ESCAPE}y\r".encode())
        alice.stdin.write(b"echo fr''om-alice\r")
        await user.sees("from-alice")
        user.type(f"{ESCAPE}l")
        await user.sees("alice/session-1 waits")
        bob.close()


async def test_one_terminal_at_a_time(agent: Running, portal: Portal, state_dir: Path) -> None:
    with User(portal.url, state_dir) as user, User(portal.url, state_dir) as second:
        first, other = user, second
        await until(lambda: [u._read() for u in (user, second)] and b"shared already" in user.seen + second.seen, "no")
        if b"shared already" in user.seen:
            first, other = second, user
        await first.sees("this terminal is shared")
        assert b"this terminal is shared:" not in other.seen


async def test_read_only_agent_has_nothing_but_what_is_shared(
    portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    portal.state = "approved"
    agent = Running(portal, state_dir)
    agent.config = replace(agent.config, read_only=True)
    async with agent.started():
        await agent.said("tunnel up")
        alice = await joined(gateway)
        await read_until(alice, b"nothing is shared now")
        assert (await alice.wait()).exit_status == 1
        async with await gateway.log_in() as conn, patient():
            with pytest.raises(asyncssh.ChannelOpenError):
                await conn.run("id")
            with pytest.raises(asyncssh.ChannelOpenError):
                await conn.start_sftp_client()
        with User(portal.url, state_dir) as user:
            await shared(user)
            alice = await let_in(user, gateway)
            await only_watches(alice, user)


async def test_the_socket_is_the_users_own(agent: Running, state_dir: Path) -> None:
    assert (state_dir / "share.sock").stat().st_mode & 0o777 == 0o600
    assert state_dir.stat().st_mode & 0o777 == 0o700


async def test_who_speaks_nonsense_at_the_socket_is_cut(agent: Running, gateway: Gateway, state_dir: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(state_dir / "share.sock"))
    async with patient():
        await reader.readexactly(9)
        writer.write(b"\xff" * 100)
        assert await reader.read() == b""
        writer.close()
    await has_a_shell(gateway)


KNOCK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.settimeout(10)
    sock.connect(sys.argv[1])
    try:
        print(len(sock.recv(100)))
    except ConnectionError:
        print(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("user", "heard"), [(65534, b"0\n"), (0, b"9\n")])
async def test_another_user_is_not_heard_even_where_the_modes_let_them(user: int, heard: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        async with open_to_shares(Stage(), folder, print):
            folder.chmod(0o755)
            (folder / "share.sock").chmod(0o666)
            command = ["/usr/bin/env", "python3", "-c", KNOCK, str(folder / "share.sock")]
            knocking = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, user=user, env={"PATH": "/usr/bin:/bin"}, cwd="/"
            )
            async with patient():
                assert (await knocking.communicate())[0] == heard


def test_sharing_needs_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["share", "--broker", "http://127.0.0.1:1", "--name", "x"]) == 2
    assert main(["share", "--broker", "http://127.0.0.1:1", "--name", "x", "--forward", "h:1"]) == 2


def test_frames_come_out_as_they_went_in_however_they_are_cut() -> None:
    stream = frame(Kind.JOIN, 7, b"alice") + frames(Kind.OUTPUT, 0, b"x" * 100_000)
    for step in (1, 7, 70_000):
        taker, got = Frames(), []
        for at in range(0, len(stream), step):
            got += taker.take(stream[at : at + step])
        assert got[0] == (Kind.JOIN, 7, b"alice")
        assert b"".join(body for _, _, body in got[1:]) == b"x" * 100_000


@pytest.mark.parametrize("stream", [b"\x63" + b"\0" * 8, b"\x02" + b"\0" * 4 + b"\xff" * 4])
def test_frames_that_nobody_speaks(stream: bytes) -> None:
    with pytest.raises(BadFrame):
        list(Frames().take(stream))


def test_the_ring_keeps_the_newest() -> None:
    ring = Ring()
    for number in range(100):
        ring.add(bytes([number]) * 10_000)
    assert ring.end == 1_000_000 and RING <= ring.end - ring.begin <= 2 * RING
    assert ring.read(ring.end - 5) == b"c" * 5 and len(ring.read(ring.begin)) == CHUNK
