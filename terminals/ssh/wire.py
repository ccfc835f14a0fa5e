"""A person's SSH channel as the viewer of a terminal: output is written as it is, the messages become lines of text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncssh

from terminals.protocol import Close
from terminals.ssh.notices import Notices
from tunnels.outlet import Outlet

LOST = 255
"""Exit status where the program's own is not known, as the stock client has it."""


class ChannelWire:
    """Satisfies `terminals.viewer.Wire`. `taken` is called after output was written: the client shows it by itself.

    `role_changed` is called with the input offset from which on the driver's input counts. `page` is the session's.
    """

    def __init__(
        self,
        channel: asyncssh.SSHServerChannel[bytes],
        *,
        taken: Callable[[], None],
        input_acknowledged: Callable[[int], None],
        role_changed: Callable[[int], None],
        page: str,
    ) -> None:
        self.on_writable: Callable[[], object] | None = None
        self.outlet = Outlet(channel, self._changed)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._taken = taken
        self._input_acknowledged = input_acknowledged
        self._role_changed = role_changed
        self._notices = Notices(page)
        self._exit: dict[str, Any] = {}
        self._when = ""
        self._is_taking = False

    @property
    def writable(self) -> bool:
        return not self.outlet.is_full and not self._channel.is_closing()

    def send_bytes(self, data: bytes) -> None:
        self.outlet.write(data)
        if not self._is_taking:
            self._is_taking = True
            self._loop.call_soon(self._take)

    def send_text(self, text: str) -> None:
        message = json.loads(text)
        match message["type"]:
            case "input_ack":
                self._input_acknowledged(message["offset"])
            case "gap":
                self._say(f"{message['to'] - message['from']} bytes of output left out")
            case "screen":
                self.outlet.write(message["sequence"].encode())
            case "limit" if message["in_s"] is not None:
                self._say(f"this terminal ends in {message['in_s']} s: {message['kind']} limit")
            case "notice":
                self._say(message["text"])
            case "viewers":
                for line in self._notices.of_company(message):
                    self._say(line)
            case "role":
                if message["role"] == "driver":
                    self._say("the keyboard is yours again")
                self._role_changed(message["input_offset"])
            case "exit":
                self._exit = message
            case "closing" if message["retry_after"] is not None:
                self._when = f", retry after {message['retry_after']} s"

    def close(self, code: int, reason: str) -> None:
        if self._exit.get("status") is not None:
            self._channel.exit(self._exit["status"])
        elif self._exit.get("signal"):
            self._channel.exit_with_signal(self._exit["signal"])
        else:
            if code != Close.ENDED:
                self._say(reason + self._when)
            self._channel.exit(LOST)

    def _say(self, text: str) -> None:
        self.outlet.write(f"\x18\x1b[0m\r\nbrokerd: {text}\r\n".encode())

    def _take(self) -> None:
        self._is_taking = False
        if self.writable:
            self._taken()

    def _changed(self) -> None:
        if not self.writable:
            return
        self._taken()
        if self.on_writable is not None:
            self.on_writable()
