"""`terminals.live`: terminals as a node holds them, from their start to the written end, over a real tunnel."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from terminals import live as live_module
from terminals.call import Call
from terminals.limits import Limits
from terminals.live import LiveTerminals
from terminals.models import Grant, Session
from terminals.protocol import Role
from terminals.recording.recordings import Recordings
from terminals.seats import Basis, owner_seat
from terminals.sessions import end_session
from tests.core.agent import in_database, make_machine, node
from tests.core.host import fake_host
from tests.core.rows import give, session_row
from tests.core.waiting import eventually, until
from tests.core.wires import viewer
from tests.people.helpers import events
from tunnels.audit import Actor
from tunnels.errors import Conflict, TooMany
from tunnels.keystore import authority_key

pytestmark = pytest.mark.django_db(transaction=True)
LIMITS = Limits(grace_s=60, idle_s=300, longest_s=3600)


class Stage:
    """One approved machine with its tunnel and SSH server, and the terminals of the node."""

    def __init__(self, machine, broker, host, terminals, grant) -> None:
        self.machine, self.broker, self.host = machine, broker, host
        self.terminals, self.grant = terminals, grant

    async def start(self, person, web_login=None, **more):
        row = await in_database(session_row)(person, self.machine.host, **more)
        # As request threads do, from outside the loop.
        await asyncio.to_thread(self.terminals.start, row, cols=80, rows=24, basis=Basis(web_login=web_login))
        return row, self.terminals.get(row.pk)


@pytest.fixture
def machine(db):
    return make_machine("web1")


@pytest.fixture
def stage(machine, alice):
    grant = give(alice, machine.host)

    @asynccontextmanager
    async def make(limits: Limits = LIMITS, recordings: Recordings | None = None, **host):
        async with fake_host(authority=authority_key(), **host) as server, node() as broker:
            machine.host.host_keys = [server.key_line]
            await in_database(machine.host.save)()
            async with broker.agent(machine, to=server.port):
                terminals = LiveTerminals(node="node-1", registry=broker.registry, limits=limits, recordings=recordings)
                async with terminals:
                    yield Stage(machine, broker, server, terminals, grant)

    return make


async def ended(row) -> Session:
    return await eventually(in_database(Session.objects.filter(pk=row.pk, ended_at__isnull=False).first), "its end")


async def test_from_start_to_exit(stage, alice):
    async with stage() as it:
        row, terminal = await it.start(alice)
        browser = viewer()
        terminal.attach(browser, cols=80, rows=24, output_offset=None)
        shell = await it.host.until_shell()
        assert it.host.doors[0].connection.get_extra_info("username") == "root"
        terminal.input(browser, b"exit\r")
        shell.channel.write(b"bye")
        shell.channel.exit(0)
        now = await ended(row)
        assert (now.reason, now.bytes_in, now.bytes_out) == ("the program ended with status 0", 5, 3)
        await until(lambda: len(it.terminals) == 0 and browser.wire.closed)
        assert browser.wire.closed == (1000, "the program ended with status 0") and browser.wire.output == b"bye"
        await until(lambda: it.host.open_doors == 0)


async def test_who_was_away_when_the_program_ended_sees_its_last_words(stage, alice):
    async with stage() as it:
        row, _ = await it.start(alice)
        shell = await it.host.until_shell()
        shell.channel.write(b"result: 42")
        shell.channel.exit(7)
        await ended(row)
        await until(lambda: len(it.terminals) == 0)
        again, browser = it.terminals.find(row.pk), viewer()
        again.attach(browser, cols=80, rows=24, output_offset=None)
        it.terminals.attached(again)
        await until(lambda: browser.wire.closed)
        assert browser.wire.output == b"result: 42" and browser.wire.of("exit")[0]["status"] == 7
        assert browser.wire.closed == (1000, "the program ended with status 7")
        ticket = await asyncio.to_thread(it.terminals.mint, session=row.pk, seat=owner_seat("alice"), role=Role.DRIVER)
        assert it.terminals.tickets.redeem(ticket, session=row.pk) is not None


async def test_the_grant_sets_the_limits_at_the_start_and_at_every_look(stage, alice, machine):
    async with stage() as it:

        def tighten(**limits):
            Grant.objects.filter(pk=it.grant.pk).update(**limits)
            it.grant.refresh_from_db()

        await in_database(tighten)(idle_s=100)
        _, terminal = await it.start(alice, grant=it.grant)
        assert terminal.limits == Limits(grace_s=60, idle_s=100, longest_s=3600)
        await in_database(tighten)(idle_s=50, longest_s=90_000)
        await it.terminals.recheck()
        assert terminal.limits == Limits(grace_s=60, idle_s=50, longest_s=3600)


async def test_another_host_key_is_audited_and_nothing_is_typed_into_it(stage, alice, machine):
    async with stage() as it:
        machine.host.host_keys = [make_line()]
        row, terminal = await it.start(alice)
        browser = viewer()
        terminal.attach(browser, cols=80, rows=24, output_offset=None)
        assert "an admin must look at this" in (await ended(row)).reason
        await until(lambda: browser.wire.closed)
        assert browser.wire.closed[0] == 4413 and it.host.shells == []
        assert "!host.key_mismatch" in await in_database(events)()


def make_line() -> str:
    import asyncssh

    return asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()


async def test_without_its_tunnel(stage, alice):
    async with stage() as it:
        it.broker.registry.close_all("gone")
        await until(lambda: len(it.broker.registry) == 0)
        row, _ = await it.start(alice)
        assert (await ended(row)).reason == "web1 went offline"


async def test_the_tunnel_is_cut(stage, alice):
    async with stage() as it:
        row, terminal = await it.start(alice)
        browser = viewer()
        terminal.attach(browser, cols=80, rows=24, output_offset=None)
        await it.host.until_shell()
        it.broker.registry.close_all("this host was revoked")
        assert (await ended(row)).reason == "the tunnel of web1 was lost: this host was revoked"
        await until(lambda: browser.wire.closed)
        assert browser.wire.closed[0] == 4412


@pytest.mark.parametrize(("by", "code"), [("grant", 4403), ("admin", 4410), ("alice", 1000)])
async def test_a_recheck_ends_what_may_not_go_on(stage, alice, by, code):
    async with stage() as it:
        row, terminal = await it.start(alice)
        browser = viewer()
        terminal.attach(browser, cols=80, rows=24, output_offset=None)
        await it.host.until_shell()
        await it.terminals.recheck()
        assert browser.wire.closed is None
        if by == "grant":
            await in_database(it.grant.delete)()
        else:
            await in_database(end_session)(session_id=row.pk, reason="enough", actor=Actor(by))
        await it.terminals.recheck()
        await until(lambda: browser.wire.closed)
        assert browser.wire.closed[0] == code
        assert (await ended(row)).ended_by == ("" if by == "grant" else by)
        assert (await in_database(events)()).count("session.ended") == 1


async def test_a_limit_ends_it(stage, alice, monkeypatch):
    monkeypatch.setattr(live_module, "TICK_S", 0.02)
    async with stage(Limits(grace_s=0, idle_s=0, longest_s=0)) as it:
        row, _ = await it.start(alice)
        assert (await ended(row)).reason == "nobody came back within 0 s"


async def test_draining_tells_everyone_and_writes_every_end(stage, alice):
    async with stage() as it:
        row, terminal = await it.start(alice)
        browser = viewer()
        terminal.attach(browser, cols=80, rows=24, output_offset=None)
        await it.host.until_shell()
        it.terminals.check_room("alice")
    assert browser.wire.closed == (4503, "the broker is stopping")
    assert browser.wire.of("closing")[0]["retry_after"] == 5
    assert (await in_database(Session.objects.get)(pk=row.pk)).reason == "the broker is stopping"
    with pytest.raises(Conflict, match="stopping"):
        it.terminals.check_room("alice")


async def test_one_that_starts_while_draining_ends_at_once(stage, alice):
    async with stage() as it:
        it.terminals._draining = True
        row, _ = await it.start(alice)
        assert (await ended(row)).reason == "the broker is stopping"


async def test_only_so_many(stage, alice, monkeypatch):
    monkeypatch.setattr(live_module, "MAX_OF_PERSON", 2)
    monkeypatch.setattr(live_module, "MAX_OF_NODE", 3)
    async with stage() as it:
        for _ in range(2):
            it.terminals.check_room("alice")
            await it.start(alice)
        with pytest.raises(TooMany):
            it.terminals.check_room("alice")
        it.terminals.check_room("bob")
        await it.start(alice)
        with pytest.raises(TooMany):
            it.terminals.check_room("bob")


async def test_a_failure_of_ours_ends_this_one_with_a_word(stage, alice, monkeypatch, caplog):
    monkeypatch.setattr(Call, "dial", lambda *args: 1 / 0)
    async with stage() as it:
        row, _ = await it.start(alice)
        assert (await ended(row)).reason == "the broker failed; the log says why"
        assert "terminal failed" in caplog.text


async def test_a_ticket_for_one_that_has_ended(stage, alice):
    async with stage() as it:
        row, _ = await it.start(alice)
        assert await asyncio.to_thread(it.terminals.mint, session=row.pk, seat=owner_seat("alice"), role="driver")
        await in_database(end_session)(session_id=row.pk, reason="x")
        await it.terminals.recheck()
        await until(lambda: len(it.terminals) == 0)
        with pytest.raises(Conflict, match="has ended"):
            await asyncio.to_thread(it.terminals.mint, session=row.pk, seat=owner_seat("alice"), role="driver")
