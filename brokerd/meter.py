"""What AsyncSSH tells nobody: bytes that arrive before the login, and key exchanges, which a peer may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

import asyncssh

MAX_BEFORE_LOGIN = 1024 * 1024
"""Bytes; a login takes a few thousand. While an answer is awaited they pile up, and every packet costs time."""

BEGINNING = b"SSH-"


def count_until_login(connection: asyncssh.SSHServerConnection, cut: Callable[[], None]) -> None:
    """Have `cut`, a bound method, called before a byte too many is looked at. Ends with `stop_counting`.

    So it is for a client whose first bytes are not those of SSH (RFC 4253 section 4.2), without waiting for a line.
    """
    # Not the methods: a connection that holds itself would outlive its end.
    receive, cut_ = WeakMethod(connection.data_received), WeakMethod(cut)
    received, head = 0, b""

    def data_received(data: bytes, datatype: Any = None) -> None:
        nonlocal received, head
        received += len(data)
        head = head or data[: len(BEGINNING)]
        if received <= MAX_BEFORE_LOGIN and BEGINNING.startswith(head) and (method := receive()):
            method(data, datatype)
        elif end := cut_():
            end()

    connection.data_received = data_received  # type: ignore[method-assign]


def stop_counting(connection: asyncssh.SSHServerConnection) -> None:
    """The login is over: each further read is AsyncSSH's own again."""
    vars(connection).pop("data_received", None)


def before_exchange(connection: asyncssh.SSHServerConnection, act: Callable[[], None]) -> None:
    """Have `act`, a bound method, called before each key exchange, when the client's version is known. What it raises
    ends the connection, asyncssh.DisconnectError with its reason."""
    send, act_ = WeakMethod(connection._send_kexinit), WeakMethod(act)

    def send_kexinit() -> None:
        method, judge = send(), act_()
        if method and judge:
            judge()
            method()

    connection._send_kexinit = send_kexinit  # type: ignore[method-assign]
