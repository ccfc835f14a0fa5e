"""An SSH client that can do what the stock one will not."""

from __future__ import annotations

from typing import Any

import asyncssh

from tests.story.machine import Machine


def connect(machine: Machine, **options: Any) -> Any:
    """A connection to the gateway with the machine's key, as `async with` takes it."""
    settings = {
        "username": machine.name,
        "client_keys": [asyncssh.read_private_key(str(machine.key))],
        "known_hosts": None,
        "config": None,
        "agent_path": None,
        "preferred_auth": "publickey",
    }
    return asyncssh.connect("127.0.0.1", machine.broker.ssh_port, **{**settings, **options})
