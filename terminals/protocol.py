"""The terminal websocket's messages (`brokerd.terminal.v1`), declared once and validated at the edge. Pure.

Binary messages are bytes of a stream, text messages are the JSON objects below. `static/terminals/protocol.js` mirrors
this file; docs/architecture.md describes the exchange.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

SUBPROTOCOL = "brokerd.terminal.v1"
WINDOW = 128 * 1024
"""Most unacknowledged output bytes towards a viewer, until it was measured what it can do (`terminals.window`)."""
INPUT_WINDOW = 256 * 1024
"""Most unacknowledged input bytes from a driver; browsers keep to 64 KiB."""
MAX_MESSAGE = 64 * 1024
MAX_SIZE = 1000
"""Most columns or rows."""
ATTACH_TIMEOUT_S = 10


class Role(StrEnum):
    DRIVER = "driver"
    WATCHER = "watcher"


class Close(IntEnum):
    ENDED = 1000
    BAD_MESSAGE = 4400
    BAD_TICKET = 4401
    NOT_ALLOWED = 4403
    NO_SESSION = 4404
    NO_ATTACH = 4408
    TAKEN_OVER = 4409
    ENDED_BY_ADMIN = 4410
    LIMIT = 4411
    TUNNEL_LOST = 4412
    HOST_KEY_MISMATCH = 4413
    STALLED = 4414
    RECORDING_FAILED = 4500
    DRAINING = 4503


class BadMessage(ValueError):
    """The peer broke the protocol; the message says how."""


@dataclass(frozen=True, slots=True)
class Attach:
    ticket: str
    cols: int
    rows: int
    output_offset: int | None
    input_offset: int | None


@dataclass(frozen=True, slots=True)
class Ack:
    offset: int


@dataclass(frozen=True, slots=True)
class Resize:
    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class Ping:
    t: float


@dataclass(frozen=True, slots=True)
class Interrupt:
    """^C, ahead of all output that was not sent yet. Counts as one input byte."""


@dataclass(frozen=True, slots=True)
class Stay:
    """The person is there, though nothing was typed."""


@dataclass(frozen=True, slots=True)
class AskRole:
    """The viewer wants the keyboard, or gives it back."""

    role: Role


Message = Attach | Ack | Resize | Ping | Interrupt | Stay | AskRole


def parse(text: str) -> Message:
    """One control message of a browser. BadMessage on everything that is not exactly one of ours."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage("a text message must be a JSON object") from error
    if not isinstance(fields, dict):
        raise BadMessage("a text message must be a JSON object")
    match fields.get("type"):
        case "attach":
            return Attach(
                _text(fields, "ticket"),
                _size(fields, "cols"),
                _size(fields, "rows"),
                _offset(fields, "output_offset", optional=True),
                _offset(fields, "input_offset", optional=True),
            )
        case "ack":
            return Ack(_offset(fields, "offset") or 0)
        case "resize":
            return Resize(_size(fields, "cols"), _size(fields, "rows"))
        case "ping":
            return Ping(_number(fields, "t"))
        case "interrupt":
            return Interrupt()
        case "stay":
            return Stay()
        case "role":
            return AskRole(_role(fields, "ask"))
    raise BadMessage(f"unknown message type {str(fields.get('type'))[:40]!r}")


def control(kind: str, /, **fields: Any) -> str:
    """A control message to the browser."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise BadMessage(f"{name} must be text")
    return value


def _role(fields: dict[str, Any], name: str) -> Role:
    try:
        return Role(_text(fields, name))
    except ValueError as error:
        raise BadMessage(f"{name} must be driver or watcher") from error


def _integer(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadMessage(f"{name} must be a whole number")
    return value


def _offset(fields: dict[str, Any], name: str, *, optional: bool = False) -> int | None:
    if optional and fields.get(name) is None:
        return None
    value = _integer(fields, name)
    if not 0 <= value < 2**53:
        raise BadMessage(f"{name} is out of range")
    return value


def _size(fields: dict[str, Any], name: str) -> int:
    value = _integer(fields, name)
    if not 1 <= value <= MAX_SIZE:
        raise BadMessage(f"{name} must be from 1 to {MAX_SIZE}")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise BadMessage(f"{name} must be a number")  # Python's JSON also takes NaN and Infinity; browsers do not
    return value
