"""Tells whoever started the process how it is, by the protocol of sd_notify(3): systemd, and `make run`."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send `READY=1` or the like to `$NOTIFY_SOCKET`; does nothing where nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        try:
            out.sendto(state.encode(), address)
        except OSError:
            return  # the starter is gone: its loss, not ours
