"""How much is measured: enough to trust by default, little enough for three minutes with `--quick`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    echo_blocks: int = 8
    neighbour_blocks: int = 5
    keys: int = 400
    """In one block."""
    file_blocks: int = 5
    file_mb: int = 200
    interrupts: int = 7
    slow_interrupts: int = 5
    resumes: int = 9
    opens: int = 11
    crowds: tuple[int, ...] = (50, 200, 500)
    """Terminals at the same time."""
    crowd_blocks: int = 3
    crowd_s: int = 10
    """Seconds of one block."""
    copies: int = 3
    copy_mb: int = 1000
    commands: int = 11
    at_once: int = 100
    """Commands at the same time."""
    watchers: int = 50
    """Of one terminal."""
    replay_mb: int = 100
    """Of the recording that is opened and sought in."""
    rounds: int = 3
    terminals: int = 50
    agents: int = 1000


QUICK = {
    "echo_blocks": 5,
    "neighbour_blocks": 2,
    "keys": 200,
    "file_blocks": 3,
    "file_mb": 50,
    "interrupts": 3,
    "slow_interrupts": 2,
    "resumes": 3,
    "opens": 3,
    "crowds": (20,),
    "crowd_blocks": 2,
    "crowd_s": 5,
    "copies": 3,
    "copy_mb": 100,
    "commands": 5,
    "at_once": 20,
    "replay_mb": 20,
    "rounds": 3,
    "terminals": 10,
    "agents": 200,
}
