"""A browser without a browser: what a terminal session sends is kept, and whether it reads is ours to say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from terminals.protocol import Role
from terminals.seats import owner_seat
from terminals.viewer import Viewer


@dataclass
class FakeWire:
    writable: bool = True
    on_writable: Callable[[], object] | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    binary: list[bytes] = field(default_factory=list)
    closed: tuple[int, str] | None = None

    def send_bytes(self, data: bytes) -> None:
        assert self.writable, "output was sent to a wire that is not read"
        self.binary.append(data)

    def send_text(self, text: str) -> None:
        self.messages.append(json.loads(text))

    def close(self, code: int, reason: str) -> None:
        self.closed = (int(code), reason)

    @property
    def output(self) -> bytes:
        return b"".join(self.binary)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.messages]


def viewer(role: Role = Role.DRIVER, person: str = "alice") -> Viewer:
    """One of the owner's."""
    return Viewer(FakeWire(), owner_seat(person, may_drive=role is Role.DRIVER), role)
