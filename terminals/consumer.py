"""The websocket door to a terminal session: turns frames into calls and events into frames; decides nothing.

A plain ASGI consumer: Channels routes to it and tells who is logged in, but its `AsyncConsumer.dispatch` would hop
through a thread for every message. The way out is the connection's own `brokerd.wire` (see `brokerd.web`), because an
ASGI `send` returns at once, whether or not the peer reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from terminals import live
from terminals.protocol import (
    ATTACH_TIMEOUT_S,
    SUBPROTOCOL,
    Ack,
    AskRole,
    Attach,
    BadMessage,
    Close,
    Interrupt,
    Message,
    Ping,
    Resize,
    Stay,
    control,
    parse,
)
from terminals.session import TerminalSession
from terminals.tickets import Ticket
from terminals.viewer import Viewer, Wire

log = structlog.get_logger(__name__)
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Refusal(Exception):
    """The socket is closed with this code and reason."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Gone(Exception):
    """The browser went away."""


async def terminal_consumer(scope: Scope, receive: Receive, send: Send) -> None:
    """One websocket at `/ws/sessions/ID`, from connect to disconnect."""
    await receive()  # websocket.connect
    if not _is_own_page(scope) or SUBPROTOCOL not in scope["subprotocols"]:
        await send({"type": "websocket.close"})  # before accept: HTTP 403
        return
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
    wire: Wire = scope["brokerd.wire"]
    try:
        await _serve(scope, receive, wire)
    except Refusal as refusal:
        wire.send_text(control("closing", reason=str(refusal), retry_after=None))
        wire.close(refusal.code, str(refusal))
    except Gone:
        pass
    except Exception:
        # The root of this connection's task: the terminal goes on, this viewer reconnects.
        log.exception("websocket failed", path=scope["path"])
        wire.close(1011, "internal error")


def _is_own_page(scope: Scope) -> bool:
    """`Origin` is exactly the portal's own. Missing, foreign and `null` ones are not (a browser cannot forge it)."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    return len(origins) == 1 and origins[0].decode("latin-1") in settings.BROKERD.origins


async def _serve(scope: Scope, receive: Receive, wire: Wire) -> None:
    session_id: UUID = scope["url_route"]["kwargs"]["session_id"]
    attach = await _first(receive)
    terminals = live.current()
    ticket = terminals.tickets.redeem(attach.ticket, session=session_id)
    if ticket is None or not _is_bearer(scope, ticket):
        raise Refusal(Close.BAD_TICKET, "this ticket is not valid (any more); open the terminal again")
    # The last output of a terminal that has ended is for its owner alone.
    terminal = terminals.find(session_id) if ticket.seat.is_owner else terminals.get(session_id)
    if terminal is None:
        raise Refusal(Close.NO_SESSION, "this terminal has ended")
    if not terminal.company.has_room(ticket.seat.party):
        raise Refusal(Close.NOT_ALLOWED, "too many are watching this terminal already")
    viewer = Viewer(wire, ticket.seat, ticket.role)
    try:
        wire.on_writable = terminal.flush
        terminal.attach(viewer, cols=attach.cols, rows=attach.rows, output_offset=attach.output_offset)
        terminals.attached(terminal)
        await _pump(terminal, viewer, receive)
    except BadMessage as error:
        # Who does not read, or still sends, never hears it. Strangers do not get here: they could fill the log.
        log.info("viewer broke the protocol", session=str(session_id), person=ticket.seat.label, reason=str(error))
        raise Refusal(Close.BAD_MESSAGE, str(error)) from error
    finally:
        wire.on_writable = None
        terminal.detach(viewer)


def _is_bearer(scope: Scope, ticket: Ticket) -> bool:
    """A ticket is its person's. A browser's socket carries a login as well, and that must be the same person's.

    A guest's is for somebody without a login.
    """
    user = scope.get("user")
    if user is None or not user.is_authenticated:
        return True
    return not ticket.seat.is_guest and bool(user.get_username() == ticket.seat.name)


async def _first(receive: Receive) -> Attach:
    """The attach message, which must come first and soon."""
    try:
        async with asyncio.timeout(ATTACH_TIMEOUT_S):
            message = await _next(receive)
    except TimeoutError as error:
        raise Refusal(Close.NO_ATTACH, f"attach was not sent within {ATTACH_TIMEOUT_S} s") from error
    except BadMessage as error:
        raise Refusal(Close.BAD_MESSAGE, str(error)) from error
    if not isinstance(message, Attach):
        raise Refusal(Close.BAD_MESSAGE, "the first message must be attach")
    return message


async def _next(receive: Receive) -> Message | bytes:
    """The next message. Gone when the socket has closed, BadMessage on nonsense."""
    event = await receive()
    if event["type"] == "websocket.disconnect":
        raise Gone
    data: bytes | None = event.get("bytes")
    return data if data is not None else parse(event["text"])


async def _pump(terminal: TerminalSession, viewer: Viewer, receive: Receive) -> None:
    while True:
        message = await _next(receive)
        if viewer.closed:
            continue  # closed by us, meanwhile: what arrives until the peer's part of the handshake does not count
        match message:
            case bytes() as data:
                terminal.input(viewer, data)
            case Ack(offset):
                terminal.ack(viewer, offset)
            case Resize(cols, rows):
                terminal.resize(viewer, cols, rows)
            case Interrupt():
                terminal.interrupt(viewer)
            case AskRole(role):
                terminal.ask_role(viewer, role)
            case Stay():
                terminal.stay(viewer)
            case Ping(t):
                viewer.tell("pong", t=t, tunnel_ms=terminal.tunnel_ms)
            case Attach():
                raise BadMessage("attach was sent already")
