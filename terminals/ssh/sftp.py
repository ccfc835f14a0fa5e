"""Which files pass through an SFTP session: read from its two byte streams on their way, never changed. Pure.

SFTP version 3, draft-ietf-secsh-filexfer-02, as OpenSSH speaks it. Every message is a length, a type and its fields;
requests and their answers share an id. Read or written bytes are hashed as long as they come in order, which is how
clients copy files; a file that was touched here and there has no sum.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_MESSAGE = 256 * 1024 + 1024
"""OpenSSH ends a session with a message beyond 256 KiB."""
MAX_PENDING = 4096
"""Requests without an answer yet, and files open at a time."""
MAX_PATH = 4096

OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
HANDLE, DATA = 102, 103
STATUS = 101
FOR_WRITING = 2
"""Of the flags of OPEN."""


class TooMuch(Exception):
    """The session cannot be followed any more; the message says why."""


@dataclass(slots=True)
class Stream:
    """The bytes of one file in one direction."""

    count: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)
    _is_whole: bool = True

    def take(self, offset: int, data: bytes) -> None:
        self._is_whole = self._is_whole and offset == self.count
        if self._is_whole:
            self._hash.update(data)
        self.count += len(data)

    @property
    def sha256(self) -> str | None:
        return self._hash.hexdigest() if self._is_whole else None


@dataclass(slots=True)
class File:
    """One file from its opening to its closing."""

    path: str
    is_for_writing: bool = False
    upload: Stream = field(default_factory=Stream)
    download: Stream = field(default_factory=Stream)
    is_closed: bool = False

    def facts(self) -> list[dict[str, Any]]:
        """What is put on record: one entry for each direction in which bytes went, or for an empty file one."""
        given = [("upload", self.upload), ("download", self.download)]
        used = [(direction, stream) for direction, stream in given if stream.count]
        used = used or [given[not self.is_for_writing]]
        return [
            {
                "path": self.path,
                "direction": direction,
                "bytes": stream.count,
                "sha256": stream.sha256,
                "complete": self.is_closed,
            }
            for direction, stream in used
        ]


class Transfers:
    """`transferred` hears of each file when it is closed; `finish` tells of those left open."""

    def __init__(self, transferred: Callable[[File], None]) -> None:
        self._transferred = transferred
        self._to_host, self._to_person = Framer(self._request), Framer(self._answer)
        self._asked: dict[int, tuple[int, Any]] = {}
        self._files: dict[bytes, File] = {}

    def to_host(self, data: bytes) -> None:
        """Bytes from the client. TooMuch when they cannot be followed."""
        self._to_host.take(data)

    def to_person(self, data: bytes) -> None:
        self._to_person.take(data)

    def finish(self) -> None:
        """The session is over."""
        for file in self._files.values():
            self._transferred(file)
        self._files.clear()

    def _request(self, kind: int, body: bytes) -> None:
        if kind not in (OPEN, CLOSE, READ, WRITE):
            return
        if len(self._asked) >= MAX_PENDING:
            raise TooMuch(f"more than {MAX_PENDING} SFTP requests without an answer")
        number, at = _uint32(body, 0)
        text, at = _string(body, at)
        if kind == OPEN:
            flags, _ = _uint32(body, at)
            self._asked[number] = (OPEN, File(text[:MAX_PATH].decode("utf-8", "replace"), bool(flags & FOR_WRITING)))
        elif kind == CLOSE:
            self._asked[number] = (CLOSE, text)
        elif kind == READ:
            self._asked[number] = (READ, (text, _uint64(body, at)))
        elif file := self._files.get(text):
            file.upload.take(_uint64(body, at), _string(body, at + 8)[0])

    def _answer(self, kind: int, body: bytes) -> None:
        if kind not in (STATUS, HANDLE, DATA):
            return
        number, at = _uint32(body, 0)
        asked, facts = self._asked.pop(number, (0, None))
        if kind == HANDLE and asked == OPEN:
            if len(self._files) >= MAX_PENDING:
                raise TooMuch(f"more than {MAX_PENDING} files open in one SFTP session")
            self._files[_string(body, at)[0]] = facts
        elif kind == DATA and asked == READ:
            handle, offset = facts
            if file := self._files.get(handle):
                file.download.take(offset, _string(body, at)[0])
        elif kind == STATUS and asked == CLOSE and (file := self._files.pop(facts, None)):
            file.is_closed = True
            self._transferred(file)


class Framer:
    """Cuts a stream into messages: `message(type, body)`."""

    def __init__(self, message: Callable[[int, bytes], None]) -> None:
        self._message = message
        self._rest = bytearray()

    def take(self, data: bytes) -> None:
        self._rest += data
        at = 0
        while len(self._rest) - at >= 5:
            (length,) = struct.unpack_from(">I", self._rest, at)
            if not 1 <= length <= MAX_MESSAGE:
                raise TooMuch(f"an SFTP message of {length} bytes")
            if len(self._rest) - at < 4 + length:
                break
            self._message(self._rest[at + 4], bytes(self._rest[at + 5 : at + 4 + length]))
            at += 4 + length
        del self._rest[:at]


def _uint32(body: bytes, at: int) -> tuple[int, int]:
    if len(body) < at + 4:
        raise TooMuch("an SFTP message that is cut short")
    return struct.unpack_from(">I", body, at)[0], at + 4


def _uint64(body: bytes, at: int) -> int:
    if len(body) < at + 8:
        raise TooMuch("an SFTP message that is cut short")
    return int(struct.unpack_from(">Q", body, at)[0])


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    length, at = _uint32(body, at)
    if len(body) < at + length:
        raise TooMuch("an SFTP message that is cut short")
    return body[at : at + length], at + length
