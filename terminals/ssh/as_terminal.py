"""A person's SSH channel with a pty, as the driver of a `TerminalSession`: listed live, to be taken over in the portal,
alive for its grace when the connection is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import asyncssh

from terminals.protocol import Role
from terminals.seats import Way, owner_seat
from terminals.session import TerminalSession
from terminals.ssh.wire import ChannelWire
from terminals.viewer import Viewer

INPUT_AHEAD = 64 * 1024
"""Input that may be unacknowledged before the person's channel is no longer read."""


class AsTerminal:
    """`changed` is called when input can be taken again."""

    def __init__(
        self,
        terminal: TerminalSession,
        channel: asyncssh.SSHServerChannel[bytes],
        changed: Callable[[], None],
        *,
        page: str,
    ) -> None:
        self._terminal = terminal
        self._changed = changed
        self._acknowledged = 0
        self._size = terminal.cols, terminal.rows
        self._wire = ChannelWire(
            channel,
            taken=self._take,
            input_acknowledged=self._acknowledge,
            role_changed=self._change_role,
            page=page,
        )
        self._viewer = Viewer(self._wire, owner_seat(terminal.person, way=Way.SSH), Role.DRIVER)
        self._wire.on_writable = terminal.flush
        terminal.attach(self._viewer, cols=terminal.cols, rows=terminal.rows, output_offset=0)
        self.outlet = self._wire.outlet

    def feed(self, waiting: deque[bytes], *, has_eof: bool) -> bool:
        """Take what can be taken. Whether the person must wait before there is more."""
        terminal = self._terminal
        while waiting and not self._viewer.closed:
            if self._viewer.role is Role.DRIVER and terminal.input_offset - self._acknowledged >= INPUT_AHEAD:
                break
            terminal.input(self._viewer, waiting.popleft())  # dropped while somebody else has the keyboard
        return bool(waiting)

    def resize(self, cols: int, rows: int) -> None:
        self._size = cols, rows
        self._terminal.resize(self._viewer, cols, rows)

    def send_signal(self, signal: str) -> None:
        """A terminal's signals are keys."""

    def leave(self) -> None:
        self._terminal.detach(self._viewer)

    def _take(self) -> None:
        if not self._viewer.closed:
            self._terminal.ack(self._viewer, self._viewer.sent)

    def _change_role(self, input_offset: int) -> None:
        self._terminal.resize(self._viewer, *self._size)
        self._acknowledge(input_offset)

    def _acknowledge(self, offset: int) -> None:
        self._acknowledged = offset
        self._changed()
