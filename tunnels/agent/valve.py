"""Back-pressure from connections down to programs: valves that hold each other, and a link that watches a transport.

AsyncSSH bounds each channel by its window, but it ignores the back-pressure of the transport below a connection: a peer
with huge windows that stops reading would make it queue without end. The link notices and holds those that produce.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import asyncssh


class Valve:
    """Open unless somebody holds it; several may hold it at once. Holding a valve holds those that follow it."""

    def __init__(self, on_hold: Callable[[], None] | None = None, on_release: Callable[[], None] | None = None) -> None:
        self._on_hold = on_hold
        self._on_release = on_release
        self._holds = 0
        self._followers: set[Valve] = set()

    @property
    def is_held(self) -> bool:
        return self._holds > 0

    def hold(self) -> None:
        self._holds += 1
        if self._holds > 1:
            return
        if self._on_hold:
            self._on_hold()
        for follower in tuple(self._followers):
            follower.hold()

    def release(self) -> None:
        self._holds -= 1
        if self._holds > 0:
            return
        if self._on_release:
            self._on_release()
        for follower in tuple(self._followers):
            follower.release()

    def follow(self, other: Valve) -> Callable[[], None]:
        """From now on `other` holds this one too. Returns what undoes it."""
        other._followers.add(self)
        if other.is_held:
            self.hold()
        return lambda: self._unfollow(other)

    def _unfollow(self, other: Valve) -> None:
        if self in other._followers:
            other._followers.discard(self)
            if other.is_held:
                self.release()


class _Stream(Protocol):
    """What an SSH connection is to its transport, be that a socket or a channel of another connection."""

    def connection_made(self, transport: Any) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes, datatype: int | None = None) -> None: ...
    def eof_received(self) -> Any: ...
    def session_started(self) -> None: ...


class Link(asyncssh.SSHTCPSession[bytes]):
    """Stands between an SSH connection and its transport. Passes everything on; `valve` is held while the way is full.

    `origin` is the address that the connection came from, where the transport is a channel, which has none of its own:
    the SSH server checks a certificate's `source-address` against it.
    """

    def __init__(self, inner: _Stream, origin: tuple[str, int] | None = None) -> None:
        self.valve = Valve()
        self._inner = inner
        self._origin = origin
        self.data_received = inner.data_received  # type: ignore[method-assign]  # the byte path pays nothing
        self.eof_received = inner.eof_received  # type: ignore[method-assign]

    def connection_made(self, transport: Any) -> None:
        if self._origin is not None:
            transport.set_extra_info(peername=self._origin, link=self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def session_started(self) -> None:
        self._inner.session_started()

    def pause_writing(self) -> None:
        self.valve.hold()

    def resume_writing(self) -> None:
        self.valve.release()
