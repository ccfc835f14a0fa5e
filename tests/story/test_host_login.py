"""How the broker logs in to a host: the pinned key, the certificate, and the password of who sits there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.story.accounts import Account, account
from tests.story.broker import Broker, soon
from tests.story.machine import LOGIN, Machine, terminal_grant
from tests.story.terminal import open_terminal, shell

pytestmark = pytest.mark.sshd


@pytest.fixture
def person() -> Iterator[Account]:
    with account() as made:
        yield made


# Host keys


async def test_another_host_key_is_refused(broker: Broker, fresh: Machine, tmp_path: Path):
    """What was typed ahead reaches no one: the stranger does not even learn who would have logged in."""
    fresh.bring_up(terminal_grant())
    fresh.swap_host_key()
    terminal = await open_terminal(broker, fresh.name)
    await terminal.run(f"touch {tmp_path / 'typed'}")
    assert await terminal.closed() == 4413
    assert f"{fresh.name} shows another host key than the one that was approved" in terminal.close_reason
    row = broker.ended(terminal.id)
    events = [event for event in broker.audit("host.key_mismatch") if event["host"] == fresh.name]
    assert [(event["person"], event["session"], event["outcome"]) for event in events] == [
        ("alice", terminal.id, "refused")
    ]
    assert row["reason"] == terminal.close_reason
    assert not (tmp_path / "typed").exists()
    assert "userauth-request" not in fresh.sshd_log.rpartition("swapped")[2]
    assert broker.is_online(fresh.name)


# Certificates


async def test_the_certificate_names_person_and_session(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant())
    async with shell(broker, fresh.name) as terminal:
        accepted = re.search(
            rf"Accepted publickey for {LOGIN} from (\S+) .*ED25519-CERT .* ID (.*) \(serial", fresh.sshd_log
        )
        assert accepted, fresh.sshd_log
        assert accepted[1] == "127.0.0.1"
        assert accepted[2] == f"alice session {terminal.id}"
        options = re.findall(r"key options: (.*)", fresh.sshd_log)
        assert options, fresh.sshd_log
        for line in options:
            assert set(line.split()) <= {"pty", "user-rc"}


async def test_a_login_that_the_host_does_not_have(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant("alice", "nobody-here"))
    terminal = await open_terminal(broker, fresh.name, "nobody-here")
    assert await terminal.closed() == 4403
    assert terminal.close_reason.startswith(f"{fresh.name} does not let nobody-here in")
    assert broker.ended(terminal.id)["reason"] == terminal.close_reason


async def test_the_certificate_opens_one_login_only(broker: Broker, fresh: Machine, person: Account):
    """The host takes the certificates of this CA for the principals that it lists, and ours names the login."""
    fresh.bring_up(terminal_grant("alice", person.login), agent=True, principals="somebody-else")
    terminal = await open_terminal(broker, fresh.name, person.login)
    assert await terminal.closed() == 4403
    assert f"does not let {person.login} in" in terminal.close_reason


# Passwords


async def test_a_password_where_the_host_does_not_trust_the_broker(broker: Broker, fresh: Machine, person: Account):
    """Wrong, then right. It is shown nowhere, and kept nowhere."""
    fresh.bring_up(terminal_grant("alice", person.login), ca=False, password=True)
    terminal = await open_terminal(broker, fresh.name, person.login)
    prompt = f"{person.login}'s password: ".encode()
    await terminal.until(prompt)
    await terminal.run("wrong-password")
    await terminal.wait(lambda: terminal.output.count(prompt) == 2, "asked again")
    await terminal.run(person.password)
    await terminal.until(b"$ ")  # of a shell that cannot read the profile that root's shells have here
    await terminal.run("id -un; stty size")
    await terminal.until(person.login.encode() + b"\r\n24 80")
    await terminal.run("exit")
    assert await terminal.closed() == 1000
    broker.ended(terminal.id)
    for secret in (person.password.encode(), b"wrong-password"):
        assert secret not in terminal.output
        assert broker.log.stat().st_size
        for path in (path for path in broker.data_dir.rglob("*") if path.is_file()):
            with suppress(FileNotFoundError):  # of another test's terminal, renamed meanwhile
                assert secret not in path.read_bytes(), path
    assert "Accepted password" in fresh.sshd_log


async def test_a_password_that_is_wrong_each_time(broker: Broker, fresh: Machine, person: Account):
    fresh.bring_up(terminal_grant("alice", person.login), ca=False, password=True)
    terminal = await open_terminal(broker, fresh.name, person.login)
    for number in (1, 2, 3):
        await terminal.wait(lambda number=number: terminal.output.count(b"password: ") == number, f"question {number}")
        await terminal.run("wrong-password")
    assert await terminal.closed(30) == 4403
    assert f"does not let {person.login} in" in terminal.close_reason


async def test_giving_up_at_the_question(broker: Broker, fresh: Machine):
    fresh.bring_up(terminal_grant(), ca=False, password=True)
    terminal = await open_terminal(broker, fresh.name)
    await terminal.until(b"password: ")
    await terminal.send(b"half\x03")
    assert await terminal.closed() == 4403
    assert f"does not let {LOGIN} in" in terminal.close_reason
    assert b"half" not in terminal.output


async def test_nobody_is_asked_for_long(broker: Broker, fresh: Machine):
    """The browser goes away at the question: the terminal waits, and can be ended."""
    fresh.bring_up(terminal_grant(), ca=False, password=True)
    terminal = await open_terminal(broker, fresh.name)
    await terminal.until(b"password: ")
    await terminal.drop()
    await asyncio.to_thread(broker.api, "DELETE", f"/sessions/{terminal.id}", None, "alice", 204)
    await soon(lambda: "Connection closed by authenticating user" in fresh.sshd_log, "the question is withdrawn")
