"""One terminal, several people: stock ssh and websockets, a real host, and what the audit says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.story.broker import SCALE, Broker, soon, until
from tests.story.client import Client, known_client
from tests.story.machine import LOGIN, PROMPT, Machine, machine
from tests.story.terminal import Terminal, open_socket, shell
from tests.story.test_agent_shell import Terminal as Screen

pytestmark = pytest.mark.sshd
SHARING = {"person": "alice", "logins": [LOGIN], "capabilities": ["terminal", "share"]}
OBSERVING = {"person": "charlie", "logins": [LOGIN], "capabilities": ["observe"]}
SOON_S = 30
"""What is not allowed any more has ended: it takes a round of re-checks, and a busy machine its time."""


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("shared"), "shared1", broker) as made:
        made.bring_up(SHARING, OBSERVING)
        yield made


@pytest.fixture(scope="module")
def client(broker: Broker, host: Machine, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return known_client(tmp_path_factory.mktemp("alice-shares"), broker)


async def api(
    broker: Broker, method: str, path: str, body: Any = None, person: str | None = "alice", status: int = 204
) -> Any:
    answer = await asyncio.to_thread(broker.call, method, f"/api/v1{path}", body, person)
    assert answer.status == status, (answer.status, answer.body)
    return answer.json if answer.body else None


async def share(broker: Broker, session: str, **body: Any) -> dict[str, Any]:
    made = await api(broker, "POST", f"/sessions/{session}/shares", body, status=201)
    return {**made, "secret": made["url"].partition("#")[2]}


async def admitted(
    broker: Broker, session: str, secret: str, person: str | None = "bob", name: str = ""
) -> dict[str, Any]:
    """Who has the link asks, the owner lets them in: the answer with the admission."""
    asked = await api(broker, "POST", "/shares/ask", {"secret": secret, "name": name}, person, 200)
    if asked["state"] == "asking":
        await api(broker, "POST", f"/sessions/{session}/asks/{asked['ask']}", {"admit": True})
    return await api(broker, "POST", f"/shares/asks/{asked['ask']}", {"key": asked["key"]}, person, 200)


@asynccontextmanager
async def joined(
    broker: Broker, session: str, person: str | None, *, acks: bool = True, cols: int = 80, rows: int = 24, **body: str
) -> AsyncIterator[Terminal]:
    """One more window on a terminal."""
    ticket = await api(broker, "POST", f"/sessions/{session}/tickets", {"role": "watcher", **body}, person, 200)
    terminal = Terminal(await open_socket(ticket["socket"], broker), session, acks)
    await terminal.attach(ticket["ticket"], cols=cols, rows=rows)
    try:
        yield terminal
    finally:
        await terminal.close()


async def viewers(broker: Broker, session: str) -> dict[str, dict[str, Any]]:
    """By name, as their owner sees them."""
    items = (await api(broker, "GET", f"/sessions/{session}/viewers", status=200))["items"]
    return {item["name"]: item for item in items}


def live_session(broker: Broker) -> str:
    rows = until(lambda: broker.api("GET", "/sessions?live=1", person="alice")["items"], "the session is live")
    return str(rows[0]["id"])


def on_record(broker: Broker, session: str, *names: str) -> list[tuple[str, str]]:
    """(event, person) of a session, in order."""
    items = broker.api("GET", "/audit?limit=1000", person="auditor")["items"]
    chosen = sorted((item for item in items if item["session"] == session), key=lambda item: item["sequence"])
    return [(item["event"], item["person"]) for item in chosen if not names or item["event"] in names]


async def test_a_session_of_stock_ssh_is_watched_and_driven_from_the_portal(
    broker: Broker, host: Machine, client: Client
):
    with Screen(client.command(f"{LOGIN}@{host.name}", options=("-tt",))) as alice:
        alice.resize(24, 80)
        await asyncio.to_thread(alice.shows, PROMPT.decode())
        alice.type("X=shared\r")
        session = await asyncio.to_thread(live_session, broker)
        link = await share(broker, session, role="driver")
        asked = await api(broker, "POST", "/shares/ask", {"secret": link["secret"]}, "bob", 200)
        await asyncio.to_thread(alice.shows, f"brokerd: bob asks to join: {broker.url}/sessions/{session}/")
        await api(broker, "POST", f"/sessions/{session}/asks/{asked['ask']}", {"admit": True})
        heard = await api(broker, "POST", f"/shares/asks/{asked['ask']}", {"key": asked["key"]}, "bob", 200)
        async with joined(
            broker, session, "bob", role="driver", admission=heard["admission"], cols=100, rows=30
        ) as bob:
            assert (bob.attached["role"], bob.attached["cols"], bob.attached["owner"]) == ("watcher", 80, "alice")
            await bob.until(b"X=shared")
            await asyncio.to_thread(alice.shows, "brokerd: bob watches")
            seen = await viewers(broker, session)
            assert (seen["alice"]["way"], seen["alice"]["role"], seen["bob"]["way"]) == ("ssh", "driver", "browser")
            await bob.control("role", ask="driver")
            await asyncio.to_thread(alice.shows, "brokerd: bob asks for the keyboard")

            await api(broker, "POST", f"/sessions/{session}/viewers/{seen['bob']['id']}/drive")
            await asyncio.to_thread(alice.shows, "brokerd: bob has the keyboard")
            changed = await bob.until_message("role")
            assert changed["role"] == "driver" and changed["cols"] == 80
            await bob.control("resize", cols=100, rows=30)
            alice.type("echo not-$((6*7))-typed\r")
            await bob.run("echo $X-$((6*7)); stty size")
            await bob.until(b"shared-42")
            await bob.until(b"30 100")

            await api(broker, "POST", f"/sessions/{session}/drive")
            await asyncio.to_thread(alice.shows, "brokerd: the keyboard is yours again")
            assert (await bob.until_message("role"))["role"] == "watcher"
            await bob.send(b"echo late-$((6*7))\r")
            alice.type("echo back-$((6*7)); stty size\r")
            await asyncio.to_thread(alice.shows, "back-42")
            await asyncio.to_thread(alice.shows, "24 80")
            assert b"not-42" not in bob.output and b"late-42" not in bob.output
            await bob.ping()

            await api(broker, "DELETE", f"/sessions/{session}/viewers/{seen['bob']['id']}")
            assert await bob.closed() == 4403 and bob.close_reason == "alice asked you to leave"
        await asyncio.to_thread(alice.shows, "brokerd: bob left")
        alice.type("exit\r")
        await asyncio.to_thread(alice.process.wait, 30 * SCALE)
    await soon(lambda: ("session.ended", "alice") in on_record(broker, session), "its end is on record")
    assert on_record(broker, session) == [
        ("session.opened", "alice"),
        ("share.created", "alice"),
        ("session.joined", "bob"),
        ("session.role_changed", "alice"),
        ("session.role_changed", "bob"),
        ("session.role_changed", "bob"),
        ("session.role_changed", "alice"),
        ("session.left", "bob"),
        ("session.ended", "alice"),
    ]


@pytest.mark.parametrize(
    "cheat",
    [
        {"type": "interrupt"},
        {"type": "role", "ask": "driver"},
        {"type": "role", "ask": "owner"},
        {"type": "role"},
        {"type": "drive", "viewer": "me"},
        b"rm -rf /\r",
    ],
    ids=str,
)
async def test_a_watcher_that_cheats_is_cut_and_types_nothing(broker: Broker, host: Machine, cheat: Any):
    async with shell(broker, host.name) as terminal:
        link = await share(broker, terminal.id, role="watcher")
        heard = await admitted(broker, terminal.id, link["secret"])
        async with joined(broker, terminal.id, "bob", admission=heard["admission"]) as bob:
            await bob.control("resize", cols=10, rows=10)
            await bob.control("stay")
            await bob.ping()
            await bob.control(cheat.pop("type"), **cheat) if isinstance(cheat, dict) else await bob.send(cheat)
            assert await bob.closed() == 4400
        assert "resized" not in terminal.kinds
        offset = terminal.offset
        await terminal.run("echo $((6*7))")
        await terminal.until(b"42")
        assert b"rm -rf" not in terminal.output and terminal.offset > offset


async def test_tickets_of_others_and_roles_that_nobody_gave(broker: Broker, host: Machine):
    async with shell(broker, host.name) as terminal, shell(broker, host.name) as other:
        link = await share(broker, terminal.id, role="watcher")
        heard = await admitted(broker, terminal.id, link["secret"])
        path, admission = f"/sessions/{terminal.id}/tickets", {"admission": heard["admission"]}
        await api(broker, "POST", path, {"role": "driver", **admission}, "bob", 403)
        for person in ("charlie", "admin", None):
            await api(broker, "POST", path, {"role": "watcher", **admission}, person, 404)
        await api(broker, "POST", f"/sessions/{other.id}/tickets", {"role": "watcher", **admission}, "bob", 404)
        ticket = await api(broker, "POST", path, {"role": "watcher", **admission}, "bob", 200)
        bob = Terminal(await open_socket(ticket["socket"], broker), terminal.id)
        attached = await bob.attach(ticket["ticket"], role="driver", may_drive=True, viewer="owner")
        assert attached["role"] == "watcher"
        again = Terminal(await open_socket(ticket["socket"], broker), terminal.id)
        await again.control("attach", ticket=ticket["ticket"], cols=80, rows=24)
        assert await again.closed() == 4401, "a ticket opens once"
        await bob.close()


async def test_a_guest_watches(broker: Broker, host: Machine):
    async with shell(broker, host.name) as terminal:
        link = await share(broker, terminal.id, role="driver", guests=True)
        heard = await admitted(broker, terminal.id, link["secret"], None, "eve")
        async with joined(broker, terminal.id, None, admission=heard["admission"]) as eve:
            await terminal.run("echo $((6*7))")
            await eve.until(b"42")
            told = await terminal.until_message("viewers")
            assert [item["is_guest"] for item in told["items"]] == [False, True] and told["asking"] == []
            await api(broker, "DELETE", f"/sessions/{terminal.id}/shares/{link['id']}")
            assert await eve.closed() == 4403

        def joins() -> list[dict[str, Any]]:
            return [item for item in broker.audit("session.joined") if item["session"] == terminal.id]

        joined_events = await soon(joins, "it is on record")
        assert [(item["person"], item["detail"]["guest"]) for item in joined_events] == [("", "eve")]


async def test_an_observer_watches_says_a_line_and_goes_with_the_grant(broker: Broker, fresh: Machine):
    fresh.bring_up(SHARING, OBSERVING)
    grants = broker.api("GET", "/grants?limit=1000")["items"]
    observing = next(item for item in grants if item["host"] == fresh.name and item["person"] == "charlie")
    async with shell(broker, fresh.name) as terminal:
        await api(broker, "POST", f"/sessions/{terminal.id}/tickets", {"role": "driver"}, "charlie", 403)
        async with joined(broker, terminal.id, "charlie") as charlie:
            await api(broker, "POST", f"/sessions/{terminal.id}/say", {"text": "the disk is full"}, "charlie")
            assert (await terminal.until_message("notice"))["text"] == "charlie: the disk is full"
            seen = await viewers(broker, terminal.id)
            assert seen["charlie"]["via"] == "observe"
            await api(broker, "DELETE", f"/grants/{observing['id']}", None, "admin")
            assert await charlie.closed(SOON_S) == 4403 and "access was withdrawn" in charlie.close_reason
        await terminal.ping()


async def test_the_owners_grant_ends_and_everybody_goes(broker: Broker, fresh: Machine):
    fresh.bring_up(SHARING)
    grants = broker.api("GET", "/grants?limit=1000")["items"]
    grant = next(item for item in grants if item["host"] == fresh.name)
    async with shell(broker, fresh.name) as terminal:
        await share(broker, terminal.id, person="bob")
        async with joined(broker, terminal.id, "bob") as bob:
            await api(broker, "DELETE", f"/grants/{grant['id']}", None, "admin")
            assert await terminal.closed(SOON_S) == 4403 and await bob.closed(SOON_S) == 4403


async def test_a_token_that_is_revoked_ends_what_it_opened(broker: Broker, host: Machine):
    token = broker.manage("create_api_token", "alice", "--name", "short").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    opened = await asyncio.to_thread(
        broker.call, "POST", "/api/v1/sessions", {"host": host.name, "login": LOGIN}, None, "", **headers
    )
    terminal = Terminal(await open_socket(opened.json["socket"], broker), opened.json["id"])
    await terminal.attach(opened.json["ticket"])
    await terminal.until(PROMPT)
    imports = "from terminals.models import ApiToken; from terminals.api_tokens import revoke_api_token"
    act = "revoke_api_token(token=ApiToken.objects.get(name='short'), actor=OPERATOR)"
    await asyncio.to_thread(broker.do, imports, "from tunnels.audit import OPERATOR", act)
    assert await terminal.closed(SOON_S) == 4403 and "API token" in terminal.close_reason


async def test_a_slow_watcher_is_skipped_forward_and_slows_nobody(broker: Broker, host: Machine, tmp_path: Path):
    size = 50_000_000
    flood = tmp_path / "flood"
    line = b"0123456789" * 7 + b"\r\n"
    flood.write_bytes(line * (size // len(line)))
    async with shell(broker, host.name) as terminal:
        await share(broker, terminal.id, person="bob")
        async with joined(broker, terminal.id, "bob", acks=False) as bob:
            await terminal.run(f"cat {flood}; echo do''ne")
            await terminal.wait(lambda: b"done" in terminal.output[-200:], "all of it is shown", 60)
            assert len(terminal.output) >= flood.stat().st_size and "gap" not in terminal.kinds
            bob.acks = True
            await bob.ack()
            gap = await bob.until_message("gap")
            assert gap["reason"] == "slow" and await bob.until_message("screen")
            await bob.until(b"done")
            assert len(bob.output) < size // 10
