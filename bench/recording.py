"""What recording costs: the same terminal on two brokers, one that records and one that does not, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from bench.bulk import MB, fetch, make
from bench.echo import ECHO, type_keys
from bench.effort import Effort
from bench.figures import OURS, Figure, percentile
from bench.ours import Ours
from bench.stage import Stage, staged
from bench.terminal import Terminal

LINE = b"\x1b[32mdrwxr-xr-x\x1b[0m 2 root root 4096 Jan  1 00:00 a-folder-with-a-name-%07d\r\n"


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    """Recorded / not recorded, each pair of blocks by itself."""
    text = Figure("recorded-text", "on/off", "0.9x", least=0.9, is_absolute=True)
    noise = Figure("recorded-noise", "on/off")
    echo = Figure("recorded-echo", "on/off", "1.1x", most=1.1, is_absolute=True)
    with staged(stage.folder / "unrecorded", BROKERD_RECORDING="off") as other:
        sides = stage.ours, other.ours
        for figure, made in ((text, _text), (noise, make)):
            path = stage.folder / figure.name
            digest = made(path, effort.file_mb)
            speed = partial(_speed, path=path, digest=digest)
            _compare(figure, sides, effort.file_blocks, speed)
        _compare(echo, sides, effort.echo_blocks, lambda it: percentile(type_keys(it, effort.keys), 50), prepare=ECHO)
    return [text, noise, echo]


def _compare(
    figure: Figure, sides: tuple[Ours, Ours], blocks: int, measured: Callable[[Terminal], float], *, prepare: str = ""
) -> None:
    with ExitStack() as stack:
        recorded, unrecorded = (stack.enter_context(closing(side.click())) for side in sides)
        for terminal in (recorded, unrecorded):
            terminal.prepare()
            if prepare:
                terminal.run(prepare)
                type_keys(terminal, 50)
        for number in range(blocks):
            order = (recorded, unrecorded) if number % 2 else (unrecorded, recorded)
            values = {terminal: measured(terminal) for terminal in order}
            figure.add(OURS, values[recorded] / values[unrecorded])


def _speed(terminal: Terminal, path: Path, digest: bytes) -> float:
    """Bytes a second."""
    size = path.stat().st_size
    return size / fetch(terminal, path, size, digest)


def _text(path: Path, megabytes: int) -> bytes:
    """As long directory listings have it, in colour."""
    lines = b"".join(LINE % number for number in range(megabytes * MB // len(LINE % 0)))
    path.write_bytes(lines)
    return hashlib.sha256(lines).digest()
