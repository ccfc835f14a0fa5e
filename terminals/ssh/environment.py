"""What a client may set in the environment: AsyncSSH keeps any number of variables of any size until something runs."""

from __future__ import annotations

from typing import Any
from weakref import WeakMethod

import asyncssh
from asyncssh.packet import SSHPacket

MAX_BYTES = 32 * 1024
"""Of all names and values of one channel."""


def bound_environment(channel: asyncssh.SSHServerChannel[Any]) -> None:
    """Refuse variables beyond MAX_BYTES, as a server refuses those that it does not know."""
    take = WeakMethod(channel._process_env_request)  # not the method: a channel that holds itself outlives its end
    left = MAX_BYTES

    def process(packet: SSHPacket) -> bool:
        nonlocal left
        left -= len(packet.get_remaining_payload())
        method = take()
        return left >= 0 and method is not None and method(packet)

    channel._process_env_request = process  # type: ignore[method-assign]
