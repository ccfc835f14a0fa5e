"""`brokerd-agent share`: the user's terminal, with a shell that others may join under this host's name.

The shell runs here, and its terminal has the size of the one in front of the user. Who joins waits until the user says
yes; ^] is the key for that. Output goes to the user first; the agent that passes it on may be slow, stopped or gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tunnels.agent import screen
from tunnels.agent.account import Account
from tunnels.agent.frames import BadFrame, Frames, Kind, frame, frames
from tunnels.agent.process import Process, Program, Pty
from tunnels.agent.say import once
from tunnels.agent.stage import SOCKET, is_ours

ESCAPE = 0x1D
MAX_UNSENT = 256 * 1024
"""What an agent that is slow or stopped has coming; beyond that output is skipped, for the user does not wait."""
TAIL = 16 * 1024
"""Of what was skipped, what is sent once the agent takes it."""
SKIPPED = b"\r\n[brokerd-agent: some output was skipped]\r\n"
AGAIN_S = 1.0
FEW_MISSES = 5
"""Then the user is told: until then the agent may be on its way up."""
NUDGE_S = 0.1
INSIDE = "BROKERD_SHARE"
HELP = "^] y admits, w lets watch only, n refuses, l lists, 1-9 removes, ^] types ^]; leaving the shell ends it"


class Share:
    """One shared terminal: a shell, the user in front of it, and the agent that lets others in."""

    def __init__(self, account: Account, folder: Path, *, read_only: bool, hangup_s: float) -> None:
        self._path = folder / SOCKET
        self._read_only = read_only
        environment = {**os.environb, INSIDE.encode(): b"1"}
        program = Program(account.shell, [account.shell], environment, str(Path.cwd()), Pty(screen.size(), {}))
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._agent: _Agent | None = None
        self._complain = once(screen.notice)
        self._misses = 0
        self._escaped = False
        self._waiting: dict[int, str] = {}
        self._joined: dict[int, Joined] = {}
        self._process = Process(program, self, hangup_s=hangup_s)

    async def run(self) -> int:
        """The shell's exit status. Cancelling it hangs the shell up."""
        loop = asyncio.get_running_loop()
        loop.add_reader(screen.IN, self._keys)
        loop.add_signal_handler(signal.SIGWINCH, lambda: self._process.resize(screen.size()))
        try:
            async with asyncio.TaskGroup() as group:
                calling = group.create_task(self._call())
                try:
                    return await self._over
                finally:
                    calling.cancel()
        finally:
            loop.remove_reader(screen.IN)
            loop.remove_signal_handler(signal.SIGWINCH)
            self._process.hang_up()

    # The shell

    def output(self, data: bytes, from_stderr: bool) -> None:
        screen.write(data)
        if self._agent is not None:
            self._agent.show(data)

    def exited(self, returncode: int) -> None:
        if not self._over.done():
            self._over.set_result(returncode if returncode >= 0 else 128 - returncode)

    def input_taken(self) -> None:
        if self._agent is not None:
            self._agent.hold(False)

    # The user

    def _keys(self) -> None:
        try:
            data = os.read(screen.IN, 4096)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(screen.IN)
            self.exited(1)
        typed = bytearray()
        for key in data:
            if self._escaped:
                self._escaped = False
                typed += self._obey(chr(key))
            elif key == ESCAPE:
                self._escaped = True
            else:
                typed.append(key)
        if typed:
            self._process.write(bytes(typed))

    def _obey(self, key: str) -> bytes:
        """What is typed by it."""
        match key:
            case "y" | "w" | "n":
                self._answer(key)
            case "l":
                screen.notice(self._listed())
            case _ if key.isdigit() and (seat := self._seat(int(key))):
                self._send(frame(Kind.REMOVE, seat))
                screen.notice(f"{self._joined.pop(seat)} was removed")
            case "\x1d":
                return b"\x1d"
            case _:
                screen.notice(HELP)
        return b""

    def _answer(self, key: str) -> None:
        if not self._waiting:
            screen.notice("nobody is waiting")
            return
        seat, who = next(iter(self._waiting.items()))
        del self._waiting[seat]
        if key == "n":
            self._send(frame(Kind.REMOVE, seat))
            screen.notice(f"{who} was refused")
            return
        may_type = key == "y" and not self._read_only
        number = min({*range(1, len(self._joined) + 2)} - {joined.number for joined in self._joined.values()})
        self._joined[seat] = Joined(number, who, may_type)
        self._send(frame(Kind.ADMIT, seat, b"\1" if may_type else b"\0"))
        screen.notice(f"{self._joined[seat]} is here now; ^] {number} removes them")
        self._nudge()

    def _nudge(self) -> None:
        """A change of the size makes full-screen programs draw anew, for those who just came."""
        cols, rows, *pixels = screen.size()
        self._process.resize((cols, max(rows - 1, 1), pixels[0], pixels[1]))
        asyncio.get_running_loop().call_later(NUDGE_S, lambda: self._process.resize(screen.size()))

    def _seat(self, number: int) -> int | None:
        return next((seat for seat, joined in self._joined.items() if joined.number == number), None)

    def _listed(self) -> str:
        here = [f"{joined.number} {joined}" for joined in self._joined.values()]
        waiting = [f"{who} waits" for who in self._waiting.values()]
        return ", ".join([*here, *waiting]) or "nobody is here but you"

    # The agent

    async def _call(self) -> None:
        """Keeps the connection to the agent. Cancelling closes it."""
        while True:
            agent = _Agent(self)
            try:
                await asyncio.get_running_loop().create_unix_connection(_giving(agent), str(self._path))
                await agent.closed.wait()
            except OSError:
                self._misses += 1
                if self._misses == FEW_MISSES:
                    self._complain(f"no agent with a login shell answers at {self._path}")
            finally:
                agent.close()
            await asyncio.sleep(AGAIN_S)

    def _send(self, data: bytes) -> None:
        if self._agent is not None:
            self._agent.send(data)

    def _opened(self, agent: _Agent) -> None:
        self._agent = agent
        how = "watch" if self._read_only else "join"
        screen.notice(f"this terminal is shared: others may {how} once you admit them (^] ? for help)")

    def disconnected(self, why: str) -> None:
        if self._agent is not None:
            self._agent = None
            self._waiting.clear()
            self._joined.clear()
            if not self._over.done():
                screen.notice(f"{why}: nobody else sees this terminal now")

    def hears(self, agent: _Agent, kind: Kind, seat: int, data: bytes) -> None:
        match kind:
            case Kind.OPEN:
                self._opened(agent)
            case Kind.BUSY:
                self._complain("another terminal of this host is shared already")
            case Kind.JOIN:
                self._waiting[seat] = data.decode("utf-8", "replace")
                screen.write(b"\a")
                screen.notice(f"{self._waiting[seat]} wants in: ^] y admits, ^] w lets watch only, ^] n refuses")
            case Kind.LEAVE if who := self._waiting.pop(seat, None) or self._joined.pop(seat, None):
                screen.notice(f"{who} has left")
            case Kind.INPUT if (joined := self._joined.get(seat)) and joined.may_type and not self._read_only:
                if not self._process.write(data) and self._agent is not None:
                    self._agent.hold(True)


def _giving(agent: _Agent) -> Callable[[], _Agent]:
    return lambda: agent


class Joined:
    """Somebody who was admitted."""

    def __init__(self, number: int, who: str, may_type: bool) -> None:
        self.number, self.who, self.may_type = number, who, may_type

    def __str__(self) -> str:
        return f"{self.who} ({'types' if self.may_type else 'watches'})"


class _Agent(asyncio.Protocol):
    """The connection to the agent."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._is_full = False
        self._tail = b""
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        if not is_ours(transport.get_extra_info("socket")):
            self.close()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, seat, body in self._frames.take(data):
                self._share.hears(self, kind, seat, body)
        except BadFrame:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._share.disconnected("the agent is gone")
        self.closed.set()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def show(self, data: bytes) -> None:
        if self._is_full:
            self._tail = (self._tail + data)[-TAIL:]
        else:
            self.send(frames(Kind.OUTPUT, 0, data))

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._tail:
            self.send(frames(Kind.OUTPUT, 0, SKIPPED + self._tail))
            self._tail = b""

    def hold(self, paused: bool) -> None:
        if self._transport is not None:
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
