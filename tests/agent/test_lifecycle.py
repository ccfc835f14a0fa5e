"""From the first start to an approved, lasting tunnel, against a portal and a gateway that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.account import own_account
from tunnels.agent.approval import EnrollmentRefused
from tunnels.agent.config import Config, Orders
from tunnels.agent.keylist import BadList
from tunnels.agent.lifecycle import run_agents
from tunnels.agent.state import State, StateError

from .stand_in import QUICK, TUNNEL_PORT, Gateway, Portal, gateway_running, line_of
from .waiting import patient, until


class Running:
    """One agent in this process, and the lines that it said."""

    def __init__(self, portal: Portal, state: Path) -> None:
        self.config = Config(portal.url, "secret", "web1", None, state)
        self.lines: list[str] = []
        self.pace = QUICK
        self.never_die = False
        self.more: list[Config] = []
        """Agents beside it."""

    async def run(self) -> None:
        orders = Orders("run", self.never_die, (self.config, *self.more))
        await run_agents(orders, own_account(), say=self.lines.append, pace=self.pace)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Running]:
        task = asyncio.create_task(self.run())
        try:
            yield self
            assert not task.done(), task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def said(self, words: str, times: int = 1) -> str:
        def found() -> list[str]:
            return [line for line in self.lines if words in line][times - 1 :]

        return (await until(found, lambda: f"{words!r} in {self.lines}"))[0]


@pytest.fixture
def agent(portal: Portal, state_dir: Path) -> Running:
    return Running(portal, state_dir)


async def test_enrolls_waits_and_holds_the_tunnel(agent: Running, portal: Portal, gateway: Gateway) -> None:
    async with agent.started():
        await agent.said("enrolled as web1")
        assert "SHA256:fingerprint" in await agent.said("fingerprint")
        assert "ABCD-EFGH" in await agent.said("pairing code")
        assert f"{portal.url}/approvals/" in await agent.said("next:")
        assert gateway.connected == 0
        portal.state = "approved"
        assert await agent.said("tunnel up") == f"tunnel up as web1 (tunnel port {TUNNEL_PORT})"
        async with await gateway.log_in() as conn:
            assert (await conn.run("echo hello")).stdout == "hello\n"
    (body,) = portal.enrollments()
    assert (body["name"], body["token"], body["login"]) == ("web1", "secret", own_account().login)
    assert body["public_key"].startswith("ssh-ed25519 ") and len(body["host_keys"]) == 1


async def test_host_key_that_was_enrolled_is_the_one_that_is_shown(
    agent: Running, portal: Portal, gateway: Gateway
) -> None:
    portal.state = "approved"
    async with agent.started():
        await gateway.up()
        shown = await asyncssh.get_server_host_key("localhost", 1, tunnel=gateway, config=None)
    assert shown and line_of(shown) == portal.enrollments()[0]["host_keys"][0]


async def test_comes_back_without_the_portal(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state = "approved"
    async with agent.started():
        first = await gateway.up()
        await agent.said("tunnel up")
        first.abort()
        assert "trying again in" in await agent.said("tunnel lost")
        await agent.said("tunnel up", times=2)
    asked = len(portal.requests)
    portal.answer_with = (500, {}, {})
    async with agent.started():
        await agent.said("tunnel up", times=3)
    assert len(portal.requests) == asked


async def test_stopping_is_seen_by_the_gateway_at_once(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state = "approved"
    async with agent.started():
        await agent.said("tunnel up")
    await until(lambda: gateway.endings, "the tunnel's end")
    assert gateway.endings == [None]  # a disconnect, not a lost connection


async def test_gateway_with_another_host_key_is_refused(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state = "approved"
    async with agent.started():
        await gateway.up()
        gateway.stop()
        gateway.key = asyncssh.generate_private_key("ssh-ed25519")
        await gateway.start()
        line = await agent.said("shows another host key")
        assert gateway.key.get_fingerprint() in line and "delete broker.json" in line
        await agent.said("shows another host key", times=2)
        assert gateway.connected == 1


async def test_gateway_with_another_kind_of_host_key_is_refused(
    agent: Running, portal: Portal, gateway: Gateway
) -> None:
    portal.state = "approved"
    async with agent.started():
        await gateway.up()
        gateway.stop()
        gateway.key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
        await gateway.start()
        await agent.said("shows another host key")
        assert gateway.connected == 1


async def test_other_keys_named_by_the_portal_do_not_replace_the_pinned(
    agent: Running, portal: Portal, gateway: Gateway
) -> None:
    portal.state = "approved"
    honest = gateway.authority
    async with agent.started():
        await agent.said("tunnel up")
        gateway.authority = asyncssh.generate_private_key("ssh-ed25519")
        gateway.admits = lambda username, key: False
        gateway.stop()
        await gateway.start()
        await agent.said("other keys than those pinned")
        gateway.admits = lambda username, key: True
        await agent.said("tunnel up", times=2)
        with pytest.raises(asyncssh.PermissionDenied):
            await gateway.log_in()
        async with await gateway.log_in(authority=honest):
            pass


@pytest.mark.parametrize("state", ["rejected", "revoked"])
async def test_an_admin_may_change_their_mind(agent: Running, portal: Portal, state: str) -> None:
    portal.state = state
    async with agent.started():
        assert state in await agent.said("by an admin")
        looks = portal.looks()
        await until(lambda: portal.looks() > looks + 2, "more looks")
        assert sum("by an admin" in line for line in agent.lines) == 1
        portal.state = "approved"
        await agent.said("tunnel up")


async def test_revoked_while_up_asks_the_portal_instead_of_hammering(
    agent: Running, portal: Portal, gateway: Gateway
) -> None:
    portal.state = "approved"
    async with agent.started():
        tunnel = await gateway.up()
        await agent.said("tunnel up")
        portal.state, gateway.admits = "revoked", lambda username, key: False
        tunnel.disconnect(asyncssh.DISC_BY_APPLICATION, "enrollment of web1 was revoked")
        await agent.said("tunnel lost: enrollment of web1 was revoked")
        await agent.said("was revoked by an admin")
        assert gateway.connected == 1
        portal.state, gateway.admits = "approved", lambda username, key: True
        await agent.said("tunnel up", times=2)


async def test_permission_denied_asks_the_portal(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state, gateway.admits = "approved", lambda username, key: False
    async with agent.started():
        await agent.said("does not let web1 in")
        looks = portal.looks()
        await until(lambda: portal.looks() > looks, "a look at the enrollment")
        gateway.admits = lambda username, key: True
        await agent.said("tunnel up")


async def test_turned_away_after_authentication_asks_the_portal(
    agent: Running, portal: Portal, gateway: Gateway
) -> None:
    portal.state, gateway.farewell = "approved", "this key belongs to web2, not to the name that was given"
    gateway.farewell_code = asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT
    async with agent.started():
        await agent.said("no tunnel: this key belongs to web2, not to the name that was given, trying again")
        looks = portal.looks()
        await until(lambda: portal.looks() > looks, "a look at the enrollment")
        gateway.farewell = ""
        await agent.said("tunnel up")


async def test_refused_forward_says_why_and_asks_the_portal(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state, gateway.refuses_forward = "approved", "tunnel port 22100 is not the one of web1"
    async with agent.started():
        await agent.said("the gateway refuses tunnel port 22100: tunnel port 22100 is not the one of web1")
        looks = portal.looks()
        await until(lambda: portal.looks() > looks, "a look at the enrollment")
        gateway.refuses_forward = ""
        await agent.said("tunnel up")


async def test_gateway_that_falls_silent_is_noticed(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state, agent.pace = "approved", replace(QUICK, keepalive=0.1)
    async with agent.started():
        tunnel = await gateway.up()
        await agent.said("tunnel up")
        tunnel._transport.pause_reading()
        await agent.said("tunnel lost")
        await agent.said("tunnel up", times=2)
        tunnel.abort()


async def test_hint_of_the_broker_is_honoured(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state, gateway.farewell = "approved", "node draining, retry after 400 s"
    async with agent.started():
        line = await agent.said("node draining")
        assert 400 <= float(line.split()[-2]) <= 500


async def test_lost_poll_token_enrolls_again(agent: Running, portal: Portal) -> None:
    async with agent.started():
        await agent.said("next:")
        portal.poll_token = "another"
        await until(lambda: len(portal.enrollments()) == 2, "a second enrollment")
        portal.state = "approved"
        await agent.said("tunnel up")
    assert sum("next:" in line for line in agent.lines) == 1


@pytest.mark.parametrize("status", [403, 409, 422])
async def test_refused_enrollment_says_why(agent: Running, portal: Portal, status: int) -> None:
    portal.answer_with = (status, {"detail": "the name web1 is taken"}, {})
    async with patient():
        with pytest.raises(EnrollmentRefused, match="the name web1 is taken"):
            await agent.run()


async def test_host_that_was_approved_once_never_gives_up(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state = "approved"
    async with agent.started():
        tunnel = await gateway.up()
        await agent.said("tunnel up")
        portal.poll_token, portal.refuse_to_enroll = "another", "token used up"
        gateway.admits = lambda username, key: False
        tunnel.abort()
        await agent.said("enrollment refused: token used up; asking again")
        portal.refuse_to_enroll, gateway.admits = "", lambda username, key: True
        await agent.said("tunnel up", times=2)


@pytest.mark.parametrize("status", [429, 503])
async def test_portal_in_trouble_is_tried_again(agent: Running, portal: Portal, status: int) -> None:
    portal.answer_with = (status, {"detail": "busy"}, {})
    async with agent.started():
        await agent.said("the portal is not ready: busy")
        await until(lambda: len(portal.requests) > 3, "more tries")
        portal.state, portal.answer_with = "approved", None
        await agent.said("the portal answers again")
        await agent.said("tunnel up")
    assert sum("not ready" in line for line in agent.lines) == 1


async def test_answer_that_makes_no_sense_is_tried_again(agent: Running, portal: Portal) -> None:
    portal.answer_with = (200, {"id": 1}, {})
    async with agent.started():
        await agent.said("does not make sense")
        portal.state, portal.answer_with = "approved", None
        await agent.said("tunnel up")


async def test_retry_after_of_the_portal_is_honoured(agent: Running, portal: Portal) -> None:
    portal.answer_with = (429, {"detail": "slow down"}, {"Retry-After": "300"})
    async with agent.started():
        line = await agent.said("slow down")
    assert float(line.split()[-2]) >= 300
    assert len(portal.requests) == 1


async def test_state_of_another_broker_is_not_used(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state = "approved"
    async with agent.started():
        await gateway.up()
    async with gateway_running() as other_gateway:
        other = Portal(other_gateway)
        other.state = "approved"
        agent.config = replace(agent.config, broker=other.url)
        try:
            with pytest.raises(StateError, match=f"belongs to the broker {portal.url}"):
                await agent.run()
        finally:
            other.stop()


async def test_a_broker_that_moved_is_known_by_its_keys(agent: Running, portal: Portal, gateway: Gateway) -> None:
    portal.state = "approved"
    async with agent.started():
        await agent.said("tunnel up")
    moved = Portal(gateway)
    moved.state = "approved"
    agent.config = replace(agent.config, broker=moved.url)
    try:
        async with agent.started():
            await agent.said("tunnel up", times=2)
        assert json.loads((agent.config.state / "broker.json").read_text())["url"] == moved.url
    finally:
        moved.stop()


async def test_broker_file_holds_the_pins(agent: Running, portal: Portal, gateway: Gateway, state_dir: Path) -> None:
    portal.state = "approved"
    async with agent.started():
        await gateway.up()
    content = json.loads((state_dir / "broker.json").read_text())
    assert content["ca_public_key"] == line_of(gateway.authority)
    assert content["gateway"]["host_keys"] == [line_of(gateway.key)]
    assert "secret" not in json.dumps(content)


async def test_warns_of_plain_http_to_elsewhere(agent: Running) -> None:
    agent.config = replace(agent.config, broker="http://broker.invalid")
    async with agent.started():
        await agent.said("warning: the broker's URL is not https")


async def test_several_brokers_at_once_and_one_that_refuses_ends_no_other(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    async with gateway_running() as work_gateway:
        work, closed = Portal(work_gateway), Portal(work_gateway)
        work.state = portal.state = "approved"
        closed.refuse_to_enroll = "no stranger gets in here"
        agent.config = replace(agent.config, section="home")
        agent.more = [
            replace(agent.config, broker=other.url, section=name, state=state_dir / name)
            for other, name in ((work, "work"), (closed, "closed"))
        ]
        try:
            async with agent.started():
                await agent.said("[home] tunnel up as web1")
                await agent.said("[work] tunnel up as web1")
                await agent.said("[closed] enrollment refused: no stranger gets in here")
                await until(lambda: gateway.tunnel and work_gateway.tunnel, "both tunnels")
        finally:
            work.stop()
            closed.stop()


async def test_of_several_that_cannot_go_on_the_last_ends_it(agent: Running, portal: Portal, state_dir: Path) -> None:
    portal.refuse_to_enroll = "closed"
    agent.more = [replace(agent.config, section="other", state=state_dir / "other")]
    async with patient():
        with pytest.raises(EnrollmentRefused, match="closed"):
            await agent.run()
    assert sum("enrollment refused: closed" in line for line in agent.lines) == 2


async def test_what_nobody_thought_of_in_one_of_several_ends_no_other(
    agent: Running, portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    portal.state = "approved"
    agent.config = replace(agent.config, section="good")
    agent.more = [replace(agent.config, section="bad", state=None)]  # type: ignore[arg-type]
    async with agent.started():
        await agent.said("[bad] ")
        await agent.said("[good] tunnel up")
    assert "[bad] the agent failed" in caplog.text


async def test_told_to_never_die_it_asks_again_after_a_refusal(agent: Running, portal: Portal) -> None:
    portal.refuse_to_enroll, agent.never_die = "token used up", True
    async with agent.started():
        await agent.said("enrollment refused: token used up; trying again in", times=2)
        portal.refuse_to_enroll, portal.state = "", "approved"
        await agent.said("tunnel up")


async def test_told_to_never_die_it_survives_what_nobody_thought_of(
    agent: Running, portal: Portal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    portal.state, agent.never_die = "approved", True

    def explode(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("boom")

    with monkeypatch.context() as patch:
        patch.setattr("tunnels.agent.approval.Approval.obtain", explode)
        async with agent.started():
            await agent.said("boom; trying again in")
            patch.undo()
            await agent.said("tunnel up")
    assert "the agent failed" in caplog.text


async def test_a_list_of_keys_that_is_not_there_is_told_at_once(agent: Running, tmp_path: Path) -> None:
    agent.config = replace(agent.config, authorized_keys=tmp_path / "nothing")
    async with patient():
        with pytest.raises(BadList, match="cannot read the list of keys"):
            await agent.run()


async def test_with_a_list_of_keys_only_those_open_it(
    agent: Running, portal: Portal, gateway: Gateway, tmp_path: Path
) -> None:
    alice = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "keys").write_text(line_of(alice))
    portal.state, agent.config = "approved", replace(agent.config, authorized_keys=tmp_path / "keys")
    async with agent.started():
        await agent.said("only people with a key in")
        await gateway.up()
        with pytest.raises(asyncssh.PermissionDenied, match="own list of keys"):
            await gateway.log_in()
        async with await gateway.connect(client_keys=[alice]) as conn:
            assert (await conn.run("echo hello")).stdout == "hello\n"


async def test_what_doctor_reads_of_a_running_agent(
    agent: Running, portal: Portal, gateway: Gateway, state_dir: Path
) -> None:
    portal.state = "approved"
    async with agent.started():
        tunnel = await gateway.up()
        await agent.said("tunnel up")
        assert State(state_dir).noted()["tunnel"] == "up"
        gateway.admits = lambda username, key: False
        tunnel.abort()
        await agent.said("does not let web1 in")
        assert State(state_dir).noted()["tunnel"] == "down"
