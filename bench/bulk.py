"""A file through the terminal: `cat` of random bytes in a raw pty, counted and compared byte by byte."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from bench.effort import Effort
from bench.figures import Figure
from bench.stage import Stage
from bench.terminal import PROMPT, Terminal

MB = 1_000_000
CONTEXT = 48
"""Bytes before and after the first wrong one that are shown."""


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    figure = Figure(f"{effort.file_mb} MB file", "MB/s", "1x", least=1)
    path = stage.folder / "random"
    digest = make(path, effort.file_mb)
    with stage.terminals() as terminals:
        for _ in range(effort.file_blocks):
            for side, terminal in terminals.items():
                seconds = fetch(terminal, path, effort.file_mb * MB, digest)
                figure.add(side, effort.file_mb / seconds)
    return [figure]


def make(path: Path, megabytes: int) -> bytes:
    content = os.urandom(megabytes * MB)
    path.write_bytes(content)
    return hashlib.sha256(content).digest()


def fetch(terminal: Terminal, path: Path, size: int, digest: bytes) -> float:
    """Seconds for the whole file. ValueError where other bytes arrive than it has."""
    terminal.run(f"head -c1 >/dev/null; cat {path}; stty sane")
    begun = time.perf_counter()
    terminal.write(b"g")
    chunks, got = [], 0
    while got < size:
        chunk = terminal.read()
        chunks.append(chunk)
        got += len(chunk)
    seconds = time.perf_counter() - begun
    received = b"".join(chunks)
    if hashlib.sha256(received[:size]).digest() != digest:
        raise ValueError(f"{path.name} arrived changed: {_difference(received[:size], path.read_bytes())}")
    terminal.until(PROMPT, received[size:])
    terminal.settle()
    return seconds


def _difference(received: bytes, sent: bytes) -> str:
    """Where it begins, and what stands around it."""
    offset = next(at for at, (got, was) in enumerate(zip(received, sent, strict=True)) if got != was)
    around = slice(max(0, offset - CONTEXT), offset + CONTEXT)
    return f"from byte {offset} on, {received[around]!r} instead of {sent[around]!r}"
