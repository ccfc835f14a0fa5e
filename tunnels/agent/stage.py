"""The agent's side of a shared terminal: who joins sits in a seat, which a session takes for its program.

The terminal itself is in the `share` of the machine's user, at the other end of a Unix socket in the state directory.
What it shows is kept, the newest 256 KiB, for those who come later and those who are slow: a slow joiner is skipped
forward, and nothing that joiners do holds the share up.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

from tunnels.agent.frames import BadFrame, Frames, Kind, frame, frames
from tunnels.agent.process import Listener
from tunnels.agent.say import Say

SOCKET = "share.sock"
RING = 256 * 1024
CHUNK = 32 * 1024
MAX_WAITING = 8
"""Joiners that the user has not answered yet."""


class Ring:
    """The newest output, by absolute offset."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.end = 0

    @property
    def begin(self) -> int:
        return self.end - len(self._data)

    def add(self, data: bytes) -> None:
        self._data += data
        self.end += len(data)
        if len(self._data) > 2 * RING:
            del self._data[:-RING]

    def read(self, offset: int) -> bytes:
        """Some of what follows `offset`, which must be within the ring."""
        at = offset - self.begin
        return bytes(self._data[at : at + CHUNK])


class Seat:
    """One joiner. A session uses it as it would a `Process`."""

    def __init__(self, stage: Stage, number: int, listener: Listener) -> None:
        self._stage = stage
        self._number = number
        self._listener = listener
        self._at: int | None = None
        """The offset of the next byte to show; None until the user has answered."""
        self._may_type = False
        self._is_held = False
        self._is_over = False
        self.reaped = asyncio.Event()
        self.reaped.set()

    @property
    def is_waiting(self) -> bool:
        return self._at is None

    # As a process

    def write(self, data: bytes) -> bool:
        if self._may_type and not self._is_over:
            self._stage.type(self._number, data)
        return self.takes_input

    @property
    def takes_input(self) -> bool:
        return not self._may_type or not self._stage.is_full

    def write_eof(self) -> None:
        """The terminal is not the joiner's to end."""

    def hold_output(self) -> None:
        self._is_held = True

    def release_output(self) -> None:
        self._is_held = False
        self.show()

    def resize(self, size: tuple[int, int, int, int]) -> None:
        """The size is that of the terminal in front of the user."""

    def send_signal(self, number: int) -> None:
        """Keys do that."""

    def hang_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._stage.left(self._number)

    # From the stage

    def admit(self, ring: Ring, *, may_type: bool) -> None:
        self._may_type = may_type
        self._at = ring.begin if self._at is None else self._at
        self.show()

    def show(self) -> None:
        """All that the session takes now."""
        ring = self._stage.ring
        while self._at is not None and not self._is_held and not self._is_over and self._at < ring.end:
            if self._at < ring.begin:
                self._at = max(ring.begin, ring.end - CHUNK)
                self.tell("some output was skipped")
            data = ring.read(self._at)
            self._at += len(data)
            self._listener.output(data, False)

    def tell(self, text: str) -> None:
        self._listener.output(f"\r\n[brokerd-agent: {text}]\r\n".encode(), False)

    def end(self, text: str, status: int) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.tell(text)
        self._listener.exited(status)

    def input_taken(self) -> None:
        self._listener.input_taken()


class Stage:
    """One agent's: at most one share at a time, and those who joined it."""

    def __init__(self) -> None:
        self.read_only = False
        """Whoever is admitted only watches, whatever the share says."""
        self.ring = Ring()
        self.is_full = False
        """The share does not take input right now."""
        self._share: _Share | None = None
        self._seats: dict[int, Seat] = {}
        self._numbers = count(1)

    @property
    def is_open(self) -> bool:
        return self._share is not None

    def join(self, who: str, listener: Listener) -> Seat:
        """A seat, for which the user is asked. The caller has looked whether the stage is open."""
        assert self._share is not None
        number = next(self._numbers)
        seat = self._seats[number] = Seat(self, number, listener)
        if sum(other.is_waiting for other in self._seats.values()) > MAX_WAITING:
            asyncio.get_running_loop().call_soon(self._end, number, "too many are waiting to be let in", 1)
        else:
            self._share.send(frame(Kind.JOIN, number, who.encode()[:400]))
            asyncio.get_running_loop().call_soon(seat.tell, "this terminal is shared; its user is asked to let you in")
        return seat

    def type(self, number: int, data: bytes) -> None:
        if self._share is not None:
            self._share.send(frames(Kind.INPUT, number, data))

    def left(self, number: int) -> None:
        if self._seats.pop(number, None) and self._share is not None:
            self._share.send(frame(Kind.LEAVE, number))

    def close(self) -> None:
        """The agent ends: who shares goes on alone."""
        if self._share is not None:
            self._share.close()

    # From the share

    def opened(self, share: _Share) -> bool:
        """False where there is one already."""
        if self._share is not None:
            return False
        self._share, self.ring, self.is_full = share, Ring(), False
        return True

    def closed(self, share: _Share) -> None:
        if self._share is share:
            self._share = None
            for number in tuple(self._seats):
                self._end(number, "the terminal is not shared any more", 0)

    def shown(self, data: bytes) -> None:
        self.ring.add(data)
        for seat in tuple(self._seats.values()):
            seat.show()

    def admit(self, number: int, *, may_type: bool) -> None:
        if seat := self._seats.get(number):
            seat.admit(self.ring, may_type=may_type and not self.read_only)

    def remove(self, number: int) -> None:
        if seat := self._seats.get(number):
            self._end(number, "you were not let in" if seat.is_waiting else "you were removed", 1)

    def fill(self, is_full: bool) -> None:
        self.is_full = is_full
        if not is_full:
            for seat in tuple(self._seats.values()):
                seat.input_taken()

    def _end(self, number: int, text: str, status: int) -> None:
        if seat := self._seats.pop(number, None):
            seat.end(text, status)


class _Share(asyncio.Protocol):
    """The connection of one share."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._frames = Frames()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not is_ours(transport.get_extra_info("socket")):
            transport.abort()
        elif not self._stage.opened(self):
            transport.write(frame(Kind.BUSY))
            transport.close()
        else:
            transport.write(frame(Kind.OPEN))

    def data_received(self, data: bytes) -> None:
        try:
            for kind, number, body in self._frames.take(data):
                self._do(kind, number, body)
        except BadFrame:
            self._transport.abort()

    def _do(self, kind: Kind, number: int, body: bytes) -> None:
        match kind:
            case Kind.OUTPUT:
                self._stage.shown(body)
            case Kind.ADMIT:
                self._stage.admit(number, may_type=body == b"\1")
            case Kind.REMOVE:
                self._stage.remove(number)

    def send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self._stage.fill(True)

    def resume_writing(self) -> None:
        self._stage.fill(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage.closed(self)


def is_ours(sock: socket.socket) -> bool:
    """Whether the other end is our own user or root. Where the system does not tell, the socket's mode must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return user in (0, os.geteuid())


@asynccontextmanager
async def open_to_shares(stage: Stage, folder: Path, say: Say) -> AsyncIterator[None]:
    """Listens for shares in the state directory, whose lock the caller holds. Leaving it ends the share."""
    path = folder / SOCKET
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            path.chmod(0o600)
            server = await asyncio.get_running_loop().create_unix_server(lambda: _Share(stage), sock=sock.dup())
    except OSError as error:
        say(f"terminals cannot be shared: cannot listen at {path}: {error.strerror or error}")
        yield
        return
    try:
        yield
    finally:
        server.close()
        stage.close()
        with suppress(OSError):
            path.unlink()
