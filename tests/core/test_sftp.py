"""`terminals.ssh.sftp`: files are seen however their bytes are cut, and nothing that is sent makes it grow or fail."""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.ssh.sftp import MAX_MESSAGE, MAX_PENDING, File, TooMuch, Transfers

OPEN, CLOSE, READ, WRITE, STATUS, HANDLE, DATA = 3, 4, 5, 6, 101, 102, 103
FOR_READING, FOR_WRITING = 1, 2


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def message(kind: int, number: int, *fields: bytes) -> bytes:
    body = bytes([kind]) + struct.pack(">I", number) + b"".join(fields)
    return struct.pack(">I", len(body)) + body


def uint64(value: int) -> bytes:
    return struct.pack(">Q", value)


class Session:
    """A client and a host that talk SFTP, as `Transfers` sees them."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.transfers = Transfers(self.files.append)
        self._number = 0

    def ask(self, kind: int, *fields: bytes, answer: int = STATUS, reply: tuple[bytes, ...] = (bytes(4),)) -> None:
        self._number += 1
        self.transfers.to_host(message(kind, self._number, *fields))
        self.transfers.to_person(message(answer, self._number, *reply))

    def open(self, path: bytes, flags: int, handle: bytes = b"h") -> None:
        self.ask(OPEN, text(path), struct.pack(">II", flags, 0), answer=HANDLE, reply=(text(handle),))

    def write(self, offset: int, data: bytes, handle: bytes = b"h") -> None:
        self.ask(WRITE, text(handle), uint64(offset), text(data))

    def read(self, offset: int, data: bytes, handle: bytes = b"h") -> None:
        self.ask(READ, text(handle), uint64(offset), struct.pack(">I", 32768), answer=DATA, reply=(text(data),))

    def close(self, handle: bytes = b"h") -> None:
        self.ask(CLOSE, text(handle))

    @property
    def facts(self) -> list[dict]:
        return [facts for file in self.files for facts in file.facts()]


def test_an_upload():
    session = Session()
    session.open(b"/tmp/a", FOR_WRITING)
    session.write(0, b"hello ")
    session.write(6, b"world")
    session.close()
    digest = hashlib.sha256(b"hello world").hexdigest()
    assert session.facts == [{"path": "/tmp/a", "direction": "upload", "bytes": 11, "sha256": digest, "complete": True}]


def test_a_download():
    session = Session()
    session.open(b"/etc/hosts", FOR_READING)
    session.read(0, b"127.0.0.1")
    session.close()
    assert session.facts[0] | {"direction": "download", "bytes": 9} == session.facts[0]


@pytest.mark.parametrize(("flags", "direction"), [(FOR_READING, "download"), (FOR_WRITING | 8, "upload")])
def test_an_empty_file(flags, direction):
    session = Session()
    session.open(b"empty", flags)
    session.close()
    [facts] = session.facts
    assert (facts["direction"], facts["bytes"], facts["sha256"]) == (direction, 0, hashlib.sha256(b"").hexdigest())


def test_touched_here_and_there_it_has_no_sum():
    session = Session()
    session.open(b"db", FOR_READING | FOR_WRITING)
    session.read(4096, b"page")
    session.write(0, b"head")
    session.close()
    assert [(facts["direction"], facts["sha256"] is None) for facts in session.facts] == [
        ("upload", False),
        ("download", True),
    ]


def test_left_open_at_the_end_it_is_not_complete():
    session = Session()
    session.open(b"half", FOR_WRITING)
    session.write(0, b"ha")
    session.transfers.finish()
    assert session.facts[0]["complete"] is False and session.facts[0]["bytes"] == 2


def test_a_file_that_was_not_opened_is_none():
    session = Session()
    session.ask(OPEN, text(b"/root/secret"), struct.pack(">II", FOR_READING, 0))  # answered by a status: refused
    session.read(0, b"?")
    session.close()
    session.transfers.finish()
    assert session.files == []


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=8), st.lists(st.integers(0, 3000), max_size=30))
def test_cuts_do_not_matter(parts: list[bytes], cuts: list[int]):
    written: list[File] = []
    transfers = Transfers(written.append)
    stream = message(OPEN, 1, text(b"f"), struct.pack(">II", FOR_WRITING, 0))
    transfers.to_host(stream)
    transfers.to_person(message(HANDLE, 1, text(b"h")))
    stream, offset = b"", 0
    for number, part in enumerate(parts, 2):
        stream += message(WRITE, number, text(b"h"), uint64(offset), text(part))
        offset += len(part)
    stream += message(CLOSE, 99, text(b"h"))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        transfers.to_host(stream[start:end])
    transfers.to_person(message(STATUS, 99, bytes(4)))
    assert written[0].upload.sha256 == hashlib.sha256(b"".join(parts)).hexdigest()


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=20))
def test_garbage_is_refused_or_ignored(chunks: list[tuple[bool, bytes]]):
    transfers = Transfers(lambda file: None)
    with suppress(TooMuch):
        for to_host, chunk in chunks:
            (transfers.to_host if to_host else transfers.to_person)(chunk)


def test_endless_messages_requests_and_files_are_refused():
    with pytest.raises(TooMuch, match="message of"):
        Transfers(lambda file: None).to_host(struct.pack(">I", MAX_MESSAGE + 1) + b"\x03")
    transfers = Transfers(lambda file: None)
    with pytest.raises(TooMuch, match="without an answer"):
        for number in range(MAX_PENDING + 1):
            transfers.to_host(message(CLOSE, number, text(b"h")))
    session = Session()
    with pytest.raises(TooMuch, match="files open"):
        for number in range(MAX_PENDING + 1):
            session.open(b"f", FOR_READING, handle=str(number).encode())
