"""How much is measured: enough to trust by default, little enough for a minute with `--quick`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    echo_blocks: int = 8
    keys: int = 400
    """In one block."""
    file_blocks: int = 5
    file_mb: int = 200
    interrupts: int = 7
    opens: int = 11
    terminals: int = 50
    agents: int = 1000


QUICK = {
    "echo_blocks": 5,
    "keys": 200,
    "file_blocks": 3,
    "file_mb": 50,
    "interrupts": 3,
    "opens": 5,
    "terminals": 20,
    "agents": 200,
}
