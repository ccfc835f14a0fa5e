"""A way to a host, end to end: raw bytes between a person's channel and one to the host's SSH server.

The person's own client logs in at the other end. The broker sees no credential and no plain byte; it knows who, to
which host, since when and how much, and ends it when the grant goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncssh
from channels.db import database_sync_to_async

from terminals.access import Capability
from terminals.grants import limits_of
from terminals.limits import GrantLimits
from terminals.models import Person, Session
from terminals.sessions import open_forward
from terminals.ssh.held import Held
from tunnels.errors import Refused
from tunnels.splice import WINDOW, End, Splice

if TYPE_CHECKING:
    from terminals.ssh.visitor import Visitor

OPEN_TIMEOUT_S = 15


async def open_way(visitor: Visitor, name: str, port: int) -> End:
    """The person's end of a way to that place, open at the host's. asyncssh.ChannelOpenError says why not."""
    held, person = visitor.desk.held, await visitor.person()
    try:
        row, limits = await database_sync_to_async(_decide)(visitor, person, name, port)
    except Refused as refusal:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, str(refusal)) from refusal
    splice = Splice()
    held.hold(row, visitor.watched(row, Capability.FORWARD), limits, splice)
    try:
        await _reach(held, row, splice)
    except asyncssh.ChannelOpenError as error:
        splice.close(error.reason)
        raise
    except BaseException:
        splice.close("the client went away")
        raise
    return splice.person


def _decide(visitor: Visitor, person: Person, name: str, port: int) -> tuple[Session, GrantLimits]:
    held = visitor.desk.held
    held.check_room(person.username)
    row = open_forward(
        person=person,
        name=name,
        port=port,
        node=held.node,
        address=visitor.address,
        proof=visitor.proof,
        is_online=held.is_online,
    )
    return row, limits_of(row.grant)


async def _reach(held: Held, row: Session, splice: Splice) -> None:
    if (tunnel := held.tunnel(row.host_id)) is None:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"{row.host.name} went offline")
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await tunnel.open(lambda: splice.host, window=WINDOW)
    except TimeoutError as error:
        reason = f"the SSH server of {row.host.name} did not answer in time"
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, reason) from error
    except asyncssh.ChannelOpenError as error:
        reason = f"the SSH server of {row.host.name} does not answer through its tunnel: {error.reason}"
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, reason) from error
