"""What an agent and a share say to each other over their Unix socket: kind, seat, length, bytes. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

HEADER = struct.Struct(">BII")
MAX_DATA = 64 * 1024


class Kind(IntEnum):
    # from the share
    OUTPUT = 2
    ADMIT = 3
    """One byte of data: whether the joiner may type."""
    REMOVE = 4
    # from the agent
    OPEN = 1
    """You are the share of this host."""
    BUSY = 5
    """Another one is."""
    JOIN = 6
    """Data: who it is."""
    INPUT = 7
    LEAVE = 8


KINDS = frozenset(int(kind) for kind in Kind)


class BadFrame(ValueError):
    """The other side does not speak this."""


def frame(kind: Kind, seat: int = 0, data: bytes = b"") -> bytes:
    return HEADER.pack(kind, seat, len(data)) + data


def frames(kind: Kind, seat: int, data: bytes) -> bytes:
    """As many as `data` needs."""
    cuts = range(0, len(data), MAX_DATA)
    return b"".join(frame(kind, seat, data[at : at + MAX_DATA]) for at in cuts)


class Frames:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        self._rest += data
        while len(self._rest) >= HEADER.size:
            kind, seat, size = HEADER.unpack_from(self._rest)
            if size > MAX_DATA or kind not in KINDS:
                raise BadFrame(f"kind {kind}, {size} bytes")
            if len(self._rest) < HEADER.size + size:
                return
            body = bytes(self._rest[HEADER.size : HEADER.size + size])
            del self._rest[: HEADER.size + size]
            yield Kind(kind), seat, body
