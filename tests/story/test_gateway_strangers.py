"""The gateway before anybody has proved anything: unknown keys, keys that are only shown, tries, and silence."""

from __future__ import annotations

import socket
import time
from typing import Any

import asyncssh
import pytest

from tests.story.broker import SCALE, Broker
from tests.story.machine import Machine, keygen, terminal_grant
from tests.story.ssh import connect


def about(broker: Broker, machine: Machine) -> list[dict[str, Any]]:
    """The audit events of this machine or of none, newest first: hosts of tests before may still be going."""
    items = broker.api("GET", "/audit?limit=1000", person="auditor")["items"]
    return [item for item in items if item["host"] in (machine.name, "")]


def test_an_unknown_key_is_turned_away_and_leaves_no_trace(broker: Broker, fresh: Machine):
    fresh.request()
    before = about(broker, fresh)[0]
    fresh.key = fresh.folder / "unknown"
    keygen(fresh.key)
    refused = fresh.run_agent()
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr
    assert about(broker, fresh)[0] == before


def test_only_keys_are_offered(broker: Broker, fresh: Machine):
    fresh.request()
    refused = fresh.run_agent("-v", "-o", "PubkeyAuthentication=no", "-o", "BatchMode=no")
    assert "Authentications that can continue: publickey\n" in refused.stderr
    assert "Permission denied (publickey)" in refused.stderr


def test_a_public_key_that_is_only_shown_proves_nothing(broker: Broker, fresh: Machine):
    """Public keys are public: the offer is answered, but nothing comes of it without a signature."""
    fresh.request()
    fresh.approve(terminal_grant())
    before = about(broker, fresh)[0]["id"]
    hidden = fresh.key.rename(fresh.folder / "hidden")  # the client shows agent.pub alone
    refused = fresh.run_agent("-v")
    assert "Server accepts key" in refused.stderr
    assert "Permission denied (publickey)" in refused.stderr
    assert not broker.is_online(fresh.name)
    hidden.rename(fresh.key)
    fresh.start_agent()
    fresh.wait_online()
    latest, last = about(broker, fresh)[:2]
    assert (latest["event"], last["id"]) == ("tunnel.opened", before)


def test_a_key_of_another_host_shown_first_gives_nothing(broker: Broker, fresh: Machine, web1: Machine):
    """Shown: the key of web1. Proved: one's own. The tunnel is one's own."""
    fresh.request()
    fresh.approve(terminal_grant())
    shown = fresh.folder / "shown.pub"
    shown.write_text(web1.public_key + "\n")
    fresh.start_agent("-v", "-o", f"IdentityFile={shown}")
    fresh.wait_online()
    assert fresh.agent_log.count("Server accepts key") == 2
    assert web1.agent and web1.agent.poll() is None


async def test_forty_tries_in_one_connection_are_cut(broker: Broker, fresh: Machine):
    fresh.request()
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(40)]
    with pytest.raises(asyncssh.DisconnectError, match="too many keys were tried"):
        await connect(fresh, client_keys=keys)


@pytest.mark.parametrize(
    ("source", "said"),
    [("127.0.0.2", b""), ("127.0.0.3", b"SSH-2.0-silent\r\n")],
    ids=["silent", "version only"],
)
def test_a_connection_that_does_not_log_in_is_closed(hasty_broker: Broker, source: str, said: bytes):
    """From addresses of their own: it is held against them."""
    place = ("127.0.0.1", hasty_broker.ssh_port)
    with socket.create_connection(place, timeout=30 * SCALE, source_address=(source, 0)) as peer:
        assert peer.recv(100).startswith(b"SSH-2.0-brokerd")
        peer.sendall(said)
        began = time.monotonic()
        while peer.recv(4096):
            assert time.monotonic() - began < 30 * SCALE
