"""The way out of one SSH channel, which knows when it is full: the channel's window, or what its connection has unsent.

AsyncSSH has no flow control below its channels: to a peer that names a huge window and never reads, it writes on and
on. So the connection's own buffer counts as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh
from asyncssh.channel import SSHChannel

HIGH_WATER = 1024 * 1024
"""Unsent bytes of a whole connection at which its channels are full."""
LOOK_S = 0.02


class Outlet:
    """`changed` is called when `is_full` may have changed; never from within `write`."""

    def __init__(self, channel: SSHChannel[bytes], changed: Callable[[], object]) -> None:
        self._channel = channel
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._is_window_full = self._is_buffer_full = False

    @property
    def is_full(self) -> bool:
        return self._is_window_full or self._is_buffer_full

    def write(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """Send, or drop where the channel is closing."""
        if self._channel.is_closing():
            return
        self._channel.write(data, datatype)
        if not self._is_buffer_full and self._unsent() > HIGH_WATER:
            self._is_buffer_full = True
            self._loop.call_soon(self._changed)
            self._loop.call_later(LOOK_S, self._look)

    def pause(self) -> None:
        """AsyncSSH's `pause_writing`."""
        self._is_window_full = True
        self._loop.call_soon(self._changed)

    def resume(self) -> None:
        """AsyncSSH's `resume_writing`."""
        self._is_window_full = False
        self._loop.call_soon(self._changed)

    def _look(self) -> None:
        if self._unsent() > HIGH_WATER // 2:
            self._loop.call_later(LOOK_S, self._look)
        else:
            self._is_buffer_full = False
            self._changed()

    def _unsent(self) -> int:
        connection: Any = getattr(self._channel, "_conn", None)  # `get_connection` fails once it is closed
        transport = getattr(connection, "_transport", None)
        return transport.get_write_buffer_size() if transport is not None else 0


class Inlet:
    """Reading of one channel, stopped and resumed. Safe to call from anywhere, again and again."""

    def __init__(self, channel: SSHChannel[bytes]) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._wants_pause = self._is_paused = False

    def hold(self, paused: bool) -> None:
        # Not within `data_received`: there, AsyncSSH 2.24.1 tops the window up in full for data not yet delivered.
        if paused != self._wants_pause:
            self._wants_pause = paused
            self._loop.call_soon(self._obey)

    def _obey(self) -> None:
        if self._wants_pause == self._is_paused:
            return
        self._is_paused = self._wants_pause
        if self._is_paused:
            self._channel.pause_reading()
        else:
            self._channel.resume_reading()
