"""The broker's keys are replaced while hosts hold the old ones: no host that could learn the new one is lost by it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.agent.stand_in import line_of
from tests.story.agent import AgentMachine
from tests.story.broker import Broker, running, soon, until
from tests.story.machine import Machine, terminal_grant
from tests.story.terminal import open_terminal
from tunnels.agent.enrollment import parse_answer, pin
from tunnels.agent.state import Broker as Known
from tunnels.agent.state import Gateway
from tunnels.keystore import ENDORSED

HASTY_AGENT = """
import sys
from functools import partial
from tunnels.agent import lifecycle
lifecycle.Pace = partial(lifecycle.Pace, first_refresh=0.5, refresh=0.5, first_retry=0.1, longest_retry=1.0)
from tunnels.agent.__main__ import main
sys.exit(main())
"""


class HastyAgent(AgentMachine):
    """The agent, which asks the portal every half second instead of four times a day."""

    def command(self, *words: str) -> list[str]:
        module, *given = super().command(*words)[2:]
        assert module == "tunnels.agent"
        return [sys.executable, "-c", HASTY_AGENT, *given]


class Stock(Machine):
    """A machine whose known_hosts is written once, as people and `install.sh` do, and from then on by ssh alone."""

    def hold(self, *options: str) -> None:
        """Its tunnel, begun anew where it has ended, as a service manager would."""
        if not hasattr(self, "line"):
            self.line = self.ssh_command(*options)
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(self.line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started.append(self.agent)

    @property
    def known_keys(self) -> list[str]:
        return [line.split(maxsplit=1)[1] for line in (self.folder / "known_hosts").read_text().splitlines()]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path / "broker") as started:
        yield started


def stock(broker: Broker, folder: Path, name: str, *options: str) -> Stock:
    made = Stock(folder / name, name, broker)
    made.bring_up(terminal_grant(), agent=False)
    made.hold(*options)
    made.wait_online()
    return made


@pytest.fixture
def learner(broker, tmp_path) -> Iterator[Stock]:
    """With the options of `install.sh`."""
    made = stock(broker, tmp_path, "learner", "-o", "UpdateHostKeys=yes")
    yield made
    made.stop()


@pytest.fixture
def stubborn(broker, tmp_path) -> Iterator[Stock]:
    """Learns nothing, like dropbear's client."""
    made = stock(broker, tmp_path, "stubborn", "-o", "UpdateHostKeys=no")
    yield made
    made.stop()


@pytest.fixture
def agent(broker, tmp_path) -> Iterator[HastyAgent]:
    made = HastyAgent(tmp_path / "agent", "agent", broker, ("--login-shell",))
    try:
        made.bring_up(terminal_grant())
        yield made
    finally:
        made.stop()


def rotate(broker: Broker, *arguments: str) -> str:
    return broker.manage("rotate_keys", *arguments).stdout


def left_behind(broker: Broker, role: str) -> list[str]:
    """Hosts that are not known to know the next key."""
    return [line.strip() for line in rotate(broker, role).splitlines() if line.startswith("  ")]


def public(broker: Broker, name: str) -> str:
    return line_of(asyncssh.read_private_key(broker.data_dir / "keys" / name))


def restart(broker: Broker) -> None:
    broker.stop()
    broker.start()


def test_the_gateways_key(broker, learner, stubborn, agent):
    old = public(broker, "gateway_host_key")
    printed = rotate(broker, "gateway")
    new = public(broker, "gateway_host_key.next")
    assert "0 hosts know the next one, 3 do not yet" in printed and new != old
    assert all(made.agent.poll() is None for made in (learner, stubborn)), "no tunnel is lost by it"
    assert left_behind(broker, "gateway") == ["agent", "learner", "stubborn"]

    restart(broker)
    for made in (learner, stubborn):
        until(lambda made=made: made.agent.poll() is not None, "ssh has noticed")
        made.hold()
    for made in (learner, stubborn, agent):
        made.wait_online(seconds=60)
    until(lambda: left_behind(broker, "gateway") == ["stubborn"], "the others have learned it", 60)
    until(
        lambda: learner.known_keys == [old, new] and agent.enrollment["gateway"]["host_keys"] == [old, new],
        "and written it down",
    )
    done = broker.manage("rotate_keys", "gateway", "--finish", check=False)
    assert done.returncode == 1 and "1 of the hosts do not know the new gateway host key yet: stubborn" in done.stderr
    assert public(broker, "gateway_host_key") == old

    rotate(broker, "gateway", "--finish", "--leave-behind")
    assert public(broker, "gateway_host_key") == new and not (broker.data_dir / "keys/gateway_host_key.next").exists()
    restart(broker)
    for made in (learner, stubborn):
        until(lambda made=made: made.agent.poll() is not None, "ssh has noticed")
        made.hold()
    for made in (learner, agent):
        made.wait_online(seconds=60)
    until(lambda: stubborn.agent.poll() is not None, "who did not learn it trusts nobody else")
    assert "Host key verification failed" in stubborn.agent_log
    until(
        lambda: learner.known_keys == [new] and agent.enrollment["gateway"]["host_keys"] == [new],
        "the old is forgotten",
    )
    steps = [event["detail"].get("step") for event in broker.audit("setting.changed") if "step" in event["detail"]]
    assert sorted(steps) == ["begun", "finished", "learned", "learned"]


def test_a_running_gateway_shows_the_new_key_to_whoever_comes_without_a_restart(broker):
    def scanned() -> str:
        scan = ["ssh-keyscan", "-p", str(broker.ssh_port), "127.0.0.1"]
        return subprocess.run(scan, capture_output=True, text=True, check=False).stdout

    rotate(broker, "gateway")
    new = public(broker, "gateway_host_key.next")
    assert new.split()[1] not in scanned()
    rotate(broker, "gateway", "--finish")
    until(lambda: new.split()[1] in scanned(), "the gateway shows its new key")


async def log_in(broker: Broker, name: str) -> None:
    """A terminal, up to the prompt of whatever shell there is."""
    terminal = await open_terminal(broker, name)
    await terminal.wait(lambda: terminal.output.rstrip()[-1:] in (b"$", b"#"), "a prompt")
    await terminal.close()
    await asyncio.to_thread(broker.call, "DELETE", f"/api/v1/sessions/{terminal.id}", None, "alice")


async def test_the_authority(broker, learner, stubborn, agent):
    old = public(broker, "user_ca")
    rotate(broker, "ca")
    new = public(broker, "user_ca.next")
    for made in (learner, stubborn):
        await log_in(broker, made.name)  # with a certificate of the old one: nothing is lost by it
    assert {"learner", "stubborn"} <= set(left_behind(broker, "ca"))

    told = learner.request()["ca_public_keys"]
    assert told == [old, new]
    (learner.folder / "ca.pub").write_text("".join(f"{line}\n" for line in told))
    await log_in(broker, "learner")
    assert f"signed by ED25519 CA {fingerprint(new)}" in learner.sshd_log
    await soon(lambda: agent.enrollment["next_ca_public_key"] == new, "the agent has been told")
    await log_in(broker, "agent")
    await soon(lambda: left_behind(broker, "ca") == ["stubborn"], "seen to trust it", 60)
    done = broker.manage("rotate_keys", "ca", "--finish", check=False)
    assert done.returncode == 1 and "stubborn" in done.stderr and "learner" not in done.stderr

    (stubborn.folder / "ca.pub").write_text(new + "\n")
    stubborn.stop_agents()
    stubborn.hold()
    await soon(lambda: left_behind(broker, "ca") == [], "tried by itself, as its tunnel is a new one", 60)
    rotate(broker, "ca", "--finish")
    (learner.folder / "ca.pub").write_text(new + "\n")
    for name in ("learner", "stubborn", "agent"):
        await log_in(broker, name)
    await soon(lambda: agent.enrollment["ca_public_key"] == new, "the agent has let go of the old one")
    assert agent.enrollment["next_ca_public_key"] == ""


def fingerprint(line: str) -> str:
    return asyncssh.import_public_key(line).get_fingerprint()


# Who may name another authority to an agent

OLD, NEW, EVIL = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
GATEWAY = line_of(asyncssh.generate_private_key("ssh-ed25519"))


def endorsed(by: asyncssh.SSHKey, key: asyncssh.SSHKey, principal: str = ENDORSED, **more) -> str:
    certificate = by.generate_host_certificate(key, "next", principals=[principal], **more)
    return " ".join(certificate.export_certificate().decode().split()[:2])


def as_user(by: asyncssh.SSHKey, key: asyncssh.SSHKey) -> str:
    """What the broker signs all day, for whoever may log in."""
    certificate = by.generate_user_certificate(key, "mallory", principals=[ENDORSED])
    return " ".join(certificate.export_certificate().decode().split()[:2])


def tampered(line: str) -> str:
    kind, text = line.split()
    return f"{kind} {text[:120]}{'A' if text[120] != 'A' else 'B'}{text[121:]}"


def after(endorsement: str, authority: asyncssh.SSHKey = OLD, known: Known | None = None) -> tuple[list[str], bool]:
    """Whom the agent trusts after such an answer of the portal, and whether it warns."""
    body = {
        "id": "e1",
        "name": "web1",
        "state": "approved",
        "tunnel_port": 22100,
        "fingerprint": "SHA256:x",
        "code": "AB",
        "ca_public_key": line_of(authority),
        "ca_endorsement": endorsement,
        "gateway": {"host": "broker", "port": 2222, "host_keys": [GATEWAY]},
    }
    first = (
        known
        or pin(None, parse_answer({**body, "ca_public_key": line_of(OLD), "ca_endorsement": ""}), url="", now="")[0]
    )
    broker, warning = pin(first, parse_answer(body), url="", now="")
    return broker.authorities, warning is not None


def test_the_authority_names_its_successor():
    assert after(endorsed(OLD, NEW)) == ([line_of(OLD), line_of(NEW)], False)


@pytest.mark.parametrize(
    "endorsement",
    [
        endorsed(EVIL, EVIL),
        endorsed(EVIL, NEW),
        endorsed(OLD, NEW, principal="web1"),
        endorsed(OLD, NEW, valid_before="20200101"),
        as_user(OLD, EVIL),
        tampered(endorsed(OLD, NEW)),
        line_of(EVIL),
        "nonsense",
    ],
)
def test_nobody_else_does(endorsement):
    assert after(endorsement) == ([line_of(OLD)], False)


def test_a_portal_that_names_another_authority_is_not_believed():
    assert after("", authority=EVIL) == ([line_of(OLD)], True)
    assert after(endorsed(EVIL, NEW), authority=EVIL) == ([line_of(OLD)], True)


def test_the_successor_takes_over_and_the_old_one_is_gone():
    gateway = Gateway("broker", 2222, (GATEWAY,))
    known = Known("", "e1", "web1", "approved", 22100, line_of(OLD), gateway, "", line_of(NEW))
    assert after("", authority=NEW, known=known) == ([line_of(NEW)], False)
    assert after(endorsed(NEW, EVIL), authority=NEW, known=known) == ([line_of(NEW), line_of(EVIL)], False)
    assert after(endorsed(OLD, EVIL), authority=NEW, known=known) == ([line_of(NEW)], False)
