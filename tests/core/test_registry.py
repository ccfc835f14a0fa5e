"""`tunnels.registry`: the newest tunnel of a host wins, and each one undoes itself."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tunnels.directory import Directory, KnownHost
from tunnels.registry import CHANNEL_WINDOW, LiveTunnel, TunnelRegistry
from tunnels.rules import AgentFacts

WEB1, WEB2 = uuid4(), uuid4()


class Connection:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.opened: list[tuple] = []

    def disconnect(self, code, reason) -> None:
        self.told.append(reason)

    async def create_connection(self, factory, *address, window) -> str:
        self.opened.append((*address, window))
        return "channel"


def tunnel(host=WEB1) -> LiveTunnel:
    return LiveTunnel(host, Connection(), "localhost", 22100, "198.51.100.7", "OpenSSH")


async def test_held_while_inside():
    registry, it = TunnelRegistry(), tunnel()
    with registry.hold(it):
        assert registry.get(WEB1) is it and len(registry) == 1 and registry.host_ids == [WEB1]
    assert registry.get(WEB1) is None and len(registry) == 0


async def test_given_back_after_an_error_as_well():
    registry = TunnelRegistry()
    with pytest.raises(RuntimeError), registry.hold(tunnel()):
        raise RuntimeError
    assert len(registry) == 0


async def test_the_newest_wins_and_the_older_ones_end_does_not_take_it_away():
    registry, old, new = TunnelRegistry(), tunnel(), tunnel()
    holding = registry.hold(old)
    holding.__enter__()
    with registry.hold(new):
        assert registry.get(WEB1) is new
        assert old.closed.result() == "replaced by a new connection with the same key"
        assert old.connection.told == ["replaced by a new connection with the same key"]
        holding.__exit__(None, None, None)
        assert registry.get(WEB1) is new
    assert len(registry) == 0 and new.connection.told == []


async def test_the_first_reason_counts():
    it = tunnel()
    it.over("the agent closed the connection")
    it.close("replaced")
    it.over("again")
    assert it.closed.result() == "the agent closed the connection"


@pytest.mark.parametrize(
    ("state", "reason"),
    [("approved", None), ("revoked", "this host was revoked"), ("pending", "was pending"), (None, "was removed")],
)
async def test_enforce(state, reason):
    registry, directory, it, other = TunnelRegistry(), Directory(), tunnel(), tunnel(WEB2)
    directory._by_id = {WEB2: KnownHost(WEB2, AgentFacts("web2", "approved", 22101))}
    if state:
        directory._by_id[WEB1] = KnownHost(WEB1, AgentFacts("web1", state, 22100))
    with registry.hold(it), registry.hold(other):
        registry.enforce(directory)
        assert it.closed.done() is (reason is not None)
        if reason:
            assert reason in it.closed.result()
        assert not other.closed.done()


async def test_all_are_told_that_the_broker_stops():
    registry, it, other = TunnelRegistry(), tunnel(), tunnel(WEB2)
    with registry.hold(it), registry.hold(other):
        registry.close_all("stopping")
        assert [one.connection.told for one in (it, other)] == [["stopping"]] * 2


async def test_a_channel_names_what_the_agent_asked_for_and_comes_from_loopback():
    it = tunnel()
    assert await it.create_connection(None, "web1", 22) == "channel"
    assert it.connection.opened == [("localhost", 22100, "127.0.0.1", 22, CHANNEL_WINDOW)]
