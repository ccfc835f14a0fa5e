"""`tunnels.pairing` with a directory that does not know yet who has just enrolled over REST."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.core.agent import in_database, make_machine, node
from tests.core.waiting import PATIENCE_S, eventually
from tunnels.models import AuditEvent, State

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.PENDING, "enrollment of web1 is waiting for approval"),
        (State.REVOKED, "enrollment of web1 was revoked"),
    ],
)
async def test_it_is_turned_away_on_record(settings, state: State, reason: str):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)
    async with node() as broker:
        machine = await in_database(make_machine)("web1", state)
        connection = await broker.connect(machine.key, "web1")
        await asyncio.wait_for(connection.wait_closed(), PATIENCE_S)
        refused = await eventually(
            in_database(AuditEvent.objects.filter(event="tunnel.refused").first), "it is recorded"
        )
        assert (refused.host, refused.detail["reason"]) == ("web1", reason)


async def test_it_gets_its_tunnel_where_it_is_approved(settings):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)
    async with node() as broker:
        machine = await in_database(make_machine)("web1")
        async with await broker.connect(machine.key, "web1") as connection:
            await connection.forward_remote_port("localhost", machine.port, "127.0.0.1", 9)
