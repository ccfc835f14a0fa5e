"""What ends a live terminal besides its program: people, rights, limits, the tunnel. Each with its code and reason."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.story.broker import Broker, soon
from tests.story.browser import Browser
from tests.story.conftest import HASTY
from tests.story.machine import LOGIN, Machine, terminal_grant
from tests.story.terminal import Terminal, open_socket, open_terminal, shell

pytestmark = pytest.mark.sshd
SOON_S = 30
"""Within which every withdrawal must have ended the terminals that it concerns: seconds, and a busy machine's time."""

OPENS_S = 8
"""Long enough for a terminal to open, whatever else the machine does."""


async def in_thread(call: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(call, *arguments)


async def grant(broker: Broker, **facts: Any) -> int:
    body = {"logins": [LOGIN], "capabilities": ["terminal"], **facts}
    return (await in_thread(broker.api, "POST", "/grants", body, "admin", 201))["id"]


async def ended(broker: Broker, terminal: Terminal, code: int, reason: str) -> None:
    """It closes in time, and screen, close frame, row and audit say the same."""
    assert await terminal.closed(SOON_S) == code
    assert reason in terminal.close_reason
    assert terminal.messages[-1]["type"] == "closing"
    row = await in_thread(broker.ended, terminal.id)
    assert row["reason"].startswith(terminal.close_reason[:100])
    told = await in_thread(
        lambda: broker.api("GET", f"/audit?event=session.ended&session={terminal.id}", person="auditor")["items"]
    )
    assert [event["detail"]["reason"] for event in told] == [row["reason"]]


# People


async def test_by_its_owner(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        await in_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "alice", 204)
        await ended(broker, terminal, 1000, "ended by its owner")
        assert broker.call("DELETE", f"/api/v1/sessions/{terminal.id}", None, "alice").status == 409


async def test_one_who_hears_of_it_late_reads_it_to_the_end(broker: Broker, web1: Machine):
    """A slow way, or a busy page, in which somebody still types: the connection is not cut before it has answered."""
    async with shell(broker, "web1") as terminal:
        terminal.socket.transport.pause_reading()
        await in_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "alice", 204)
        await soon(lambda: broker.session(terminal.id)["state"] == "ended", "it has ended")
        await asyncio.sleep(2)  # longer than the second that Autobahn gives
        await terminal.send(b"x")
        terminal.socket.transport.resume_reading()
        await ended(broker, terminal, 1000, "ended by its owner")


async def test_by_an_admin(broker: Broker, web1: Machine):
    async with shell(broker, "web1") as terminal:
        for person, status in (("bob", 404), ("charlie", 404), ("auditor", 403)):
            answer = await in_thread(broker.call, "DELETE", f"/api/v1/sessions/{terminal.id}", None, person)
            assert answer.status == status
        await terminal.ping()
        await in_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "admin", 204)
        await ended(broker, terminal, 4410, "ended by admin")


async def test_by_the_operator(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    async with shell(broker, fresh.name) as terminal:
        await in_thread(broker.manage, "end_sessions", "--host", fresh.name, "--reason", "the disk is exchanged")
        await ended(broker, terminal, 4410, "the disk is exchanged")


# Rights


async def test_when_the_grant_is_revoked(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant("bob"))
    granted = await grant(broker, person="alice", host=fresh.name)
    async with shell(broker, fresh.name) as terminal, shell(broker, fresh.name, "bob") as bobs:
        await in_thread(broker.manage, "revoke_access", str(granted))
        await ended(broker, terminal, 4403, "access was withdrawn: no grant gives alice access")
        await bobs.ping()
    answer = broker.call("POST", "/api/v1/sessions", {"host": fresh.name, "login": LOGIN}, "alice")
    assert answer.status == 404


async def test_when_the_grant_expires(broker: Broker, fresh: Machine):
    fresh.bring_up()
    until = (datetime.now(UTC) + timedelta(seconds=OPENS_S)).isoformat()
    await grant(broker, person="alice", host=fresh.name, valid_until=until)
    async with shell(broker, fresh.name) as terminal:
        assert await terminal.closed(OPENS_S + SOON_S) == 4403
        await ended(broker, terminal, 4403, "is not valid at this time")


async def test_when_another_grant_still_holds_it_goes_on(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    second = await grant(broker, person="alice", host=fresh.name)
    async with shell(broker, fresh.name) as terminal, shell(broker, "web1") as witness:
        await in_thread(broker.api, "DELETE", f"/grants/{second}", None, "admin", 204)
        third = await grant(broker, person="charlie", host=fresh.name)
        async with shell(broker, fresh.name, "charlie") as charlies:
            await in_thread(broker.api, "DELETE", f"/grants/{third}", None, "admin", 204)
            await ended(broker, charlies, 4403, "no grant gives charlie access")
        await terminal.ping()  # the round that ended charlie's came by here as well
        await witness.ping()


async def test_when_the_group_is_left(broker: Broker, fresh: Machine):
    fresh.bring_up()
    await grant(broker, group="ops", host=fresh.name)
    async with shell(broker, fresh.name, "bob") as terminal:
        imports = "from terminals.people import find_person, set_roles; from tunnels.audit import OPERATOR"
        leave = "set_roles(person=find_person('bob'), admin=False, groups=[], actor=OPERATOR)"
        await in_thread(broker.do, imports, leave)
        await ended(broker, terminal, 4403, "no grant gives bob access")


async def test_when_the_person_is_disabled(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant("dora"))
    async with shell(broker, fresh.name, "dora") as terminal:
        assert broker.call("GET", "/api/v1/hosts", person="dora").status == 200
        await in_thread(broker.manage, "disable_person", "dora")
        await ended(broker, terminal, 4403, "dora is disabled")
        assert broker.call("GET", "/api/v1/hosts", person="dora").status == 401


async def test_when_the_login_that_opened_it_ends(broker: Broker, web1: Machine):
    """Terminals of another login of the same person, and those opened with a token, go on."""
    browser, other = Browser(broker).log_in("alice"), Browser(broker).log_in("alice")
    async with shell(broker, "web1") as by_token:
        terminals = []
        for each in (browser, other):
            answer = each.call("POST", "/api/v1/sessions", {"host": "web1", "login": LOGIN})
            assert answer.status == 201, answer.body
            socket = await open_socket(answer.json["socket"], broker, additional_headers={"Cookie": each.cookie})
            terminals.append(Terminal(socket, answer.json["id"]))
            await terminals[-1].attach(answer.json["ticket"])
        assert browser.submit("/logout/").status == 302
        await ended(broker, terminals[0], 4403, "the portal login that opened this terminal has ended")
        await terminals[1].ping()
        await by_token.ping()
        await terminals[1].run("exit")
        assert await terminals[1].closed() == 1000


# Limits


async def test_limits(hasty_broker: Broker, hasty1: Machine):
    """One terminal for each, at once."""
    idle_s, longest_s = HASTY["BROKERD_IDLE_TIMEOUT"], HASTY["BROKERD_MAX_SESSION"]
    lost = f"nobody came back within {HASTY['BROKERD_SESSION_GRACE']} s"
    left, idle, busy = await asyncio.gather(*(open_terminal(hasty_broker, "hasty1") for _ in range(3)))
    await left.drop()

    async def typing() -> None:
        while True:
            await busy.send(b":\r")
            await asyncio.sleep(0.3)

    typist = asyncio.create_task(typing())
    try:
        await asyncio.gather(
            ended(hasty_broker, idle, 4411, f"nothing was typed for {idle_s} s"),
            soon(lambda: hasty_broker.session(left.id)["reason"] == lost, "the grace is over"),
        )
        await ended(hasty_broker, busy, 4411, f"it reached the longest time that is allowed, {longest_s} s")
    finally:
        typist.cancel()
        await asyncio.gather(typist, return_exceptions=True)


# The tunnel


async def test_when_the_tunnel_is_cut(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    async with shell(broker, fresh.name) as terminal:
        assert fresh.agent
        fresh.agent.kill()
        await ended(broker, terminal, 4412, f"the tunnel of {fresh.name} was lost: the connection was cut")
    refused = broker.call("POST", "/api/v1/sessions", {"host": fresh.name, "login": LOGIN}, "alice")
    assert refused.status == 409
    assert refused.json["detail"] == f"{fresh.name} is offline: the connection was cut"
    fresh.start_agent()
    fresh.wait_online()
    async with shell(broker, fresh.name) as terminal:
        await terminal.ping()


async def test_when_the_tunnel_is_replaced(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    async with shell(broker, fresh.name) as terminal:
        fresh.start_agent()
        await ended(broker, terminal, 4412, "replaced by a new connection with the same key")


async def test_when_the_hosts_ssh_server_goes(broker: Broker, fresh: Machine):
    """The server's process for this connection is killed: the tunnel stays."""
    fresh.bring_up(terminal_grant())
    async with shell(broker, fresh.name) as terminal:
        await terminal.run("kill -KILL $PPID")
        await ended(broker, terminal, 4412, "the connection to the host was lost")
    assert broker.is_online(fresh.name)


async def test_when_nothing_answers_at_the_other_end(broker: Broker, fresh: Machine):
    fresh.request()
    fresh.approve(terminal_grant())
    fresh.start_agent()  # and no sshd
    fresh.wait_online()
    terminal = await open_terminal(broker, fresh.name)
    await ended(broker, terminal, 4412, f"the SSH server of {fresh.name} does not answer through its tunnel")
