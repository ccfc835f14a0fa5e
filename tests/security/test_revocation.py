"""What is taken from a person ends what they have open by it, within 5 s, idle or busy, whichever way it came.

Real sshd, stock ssh, real websockets. In each story one thing is withdrawn, mostly by another process, of which the
broker is told by nothing but the database; what does not rest on it goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest

from terminals.access import Capability
from terminals.grants import revoke_grant
from terminals.limits import GrantLimits, Limits
from terminals.live import LiveTerminals
from terminals.models import Session
from terminals.recheck import Watched
from terminals.ssh.held import Held
from tests.core.agent import in_database
from tests.core.rows import give, session_row
from tests.core.waiting import until
from tests.machines.helpers import key_line
from tests.needs import missing
from tests.people.helpers import make_host
from tests.story.broker import PASSWORD, SCALE, Broker, running
from tests.story.broker import until as eventually
from tests.story.browser import Browser
from tests.story.client import Client
from tests.story.machine import LOGIN, PROMPT, SSHD, Machine, machine
from tests.story.terminal import Terminal, open_socket, open_terminal
from tunnels import changes
from tunnels.audit import OPERATOR
from tunnels.registry import TunnelRegistry

pytestmark = pytest.mark.sshd
SOON_S = 5
SLOW_S = 4
"""What a busy machine may add: less than any time-out that would end it all the same, `brokerd.web.CLOSE_S` for one."""
ALL_RIGHTS = ["terminal", "exec", "sftp", "forward", "share"]
OVER_SSH = {"ssh", "busy ssh", "command", "busy command", "sftp", "way"}
OF_LOGIN = {"web", "busy web", "watched"}
EVERYTHING = {*OVER_SSH, *OF_LOGIN, "by token"}
FLOOD = "yes flood"
"""More than anybody takes: every buffer on the way is full."""
STREAM = "while yes flood | head -c 100000; do sleep 0.2; done"
"""Always something on the way, which leaves the machine time for the rest of the test; ends where nobody reads it."""
_people = count(1)
PEOPLE = """
import json
from terminals.api_tokens import create_api_token
from terminals.people import create_person
from tunnels.audit import OPERATOR
tokens = {}
for number in range(1, 21):
    person = create_person(name=f"r{number}", password=%r, actor=OPERATOR)
    tokens[person.username] = create_api_token(person=person, name="test", actor=OPERATOR)[1]
print("tokens " + json.dumps(tokens))
"""
IMPORTS = """
from datetime import timedelta
from django.contrib.auth.models import Group
from django.utils import timezone
from terminals.api_tokens import revoke_api_token
from terminals.grants import revoke_grant
from terminals.models import ApiToken, Grant, Person
from terminals.people import end_logins, find_person, set_roles
from terminals.second_factor import set_second_factor
from tunnels.audit import OPERATOR
from tunnels.hosts import change_tags
from tunnels.models import Host
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not Path(SSHD).exists():
        missing(f"{SSHD} is missing: install the Debian package openssh-server")
    with running(tmp_path_factory.mktemp("revocation") / "data") as running_broker:
        printed = running_broker.do(PEOPLE % PASSWORD)
        running_broker.tokens |= json.loads(printed.split("tokens ", 1)[1])
        yield running_broker


@pytest.fixture(scope="module")
def host(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machines"), "rev1", broker) as made:
        made.bring_up()
        yield made


# What a person has open


class Process:
    """A stock client that stays as long as it is let."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._said = bytearray(), bytearray()
        streams = zip((process.stdout, process.stderr), self._said, strict=True)
        self._reading = [asyncio.create_task(self._read(stream, into)) for stream, into in streams]

    @property
    def said(self) -> bytes:
        """The end of what it printed, and what it complained of."""
        return b"".join(self._said)

    async def _read(self, stream: Any, into: bytearray) -> None:
        while data := await stream.read(65536):
            into += data
            del into[:-10_000]

    async def type(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def shows(self, text: bytes) -> None:
        await wait_for(lambda: text in self.said, f"{text!r} in {self.said[-300:]!r}", 60)

    async def ended(self, seconds: float) -> str:
        async with asyncio.timeout(seconds):
            await self.process.wait()
            await asyncio.wait(self._reading)
        return self.said.decode(errors="replace")

    async def is_alive(self) -> bool:
        return self.process.returncode is None

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await asyncio.wait(self._reading)


class Socket:
    """A terminal on a websocket."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    async def ended(self, seconds: float) -> str:
        async with asyncio.timeout(seconds):
            await self.terminal.closed(seconds)
        assert self.terminal.close_code in (4403, 4410, 4412), self.terminal.close_code
        return self.terminal.close_reason

    async def is_alive(self) -> bool:
        if self.terminal.close_code is None:
            await self.terminal.ping()
        return self.terminal.close_code is None

    async def close(self) -> None:
        await self.terminal.close()


async def wait_for(probe: Callable[[], Any], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds * SCALE
    while not probe():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


@dataclass
class Holdings:
    """A person, and all that they have open on `host`."""

    broker: Broker
    host: Machine
    person: str
    client: Client
    browser: Browser
    busy: str
    """The command of what is busy."""

    things: dict[str, Any] = field(default_factory=dict)
    grant: int = 0

    async def do(self, call: Any, *arguments: Any) -> Any:
        return await asyncio.to_thread(call, *arguments)

    async def act(self, *lines: str) -> None:
        """In another process."""
        await self.do(self.broker.do, IMPORTS, *lines)

    async def spawn(self, name: str, *words: str, options: tuple[str, ...] = (), shows: bytes = b"") -> None:
        command = self.client.command(f"{LOGIN}@{self.host.name}", *words, options=options)
        await self._spawn(name, command, shows)

    async def _spawn(self, name: str, command: list[str], shows: bytes) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        made = self.things[name] = Process(process)
        if shows:
            await made.shows(shows)

    async def open_ssh(self, name: str, *, busy: bool) -> None:
        await self.spawn(name, options=("-tt",), shows=PROMPT)
        if busy:
            await self.things[name].type(f"{self.busy}\n")
            await self.things[name].shows(b"flood\r\nflood")

    async def open_sftp(self) -> None:
        await self.spawn("sftp", "sftp", options=("-s",))
        await self.things["sftp"].type("\0\0\0\5\1\0\0\0\3")  # INIT, version 3
        await self.things["sftp"].shows(b"\2\0\0\0\3")

    async def open_way(self) -> None:
        port = str(self.broker.ssh_port)
        command = ["ssh", "-F", str(self.client.config), "-p", port, "-W", f"{self.host.name}:22"]
        await self._spawn("way", [*command, f"{self.person}@127.0.0.1"], b"SSH-2.0")

    async def open_web(self, name: str, *, busy: bool) -> None:
        body = {"host": self.host.name, "login": LOGIN}
        answer = await self.do(self.browser.call, "POST", "/api/v1/sessions", body)
        assert answer.status == 201, answer.body
        cookie = {"Cookie": self.browser.cookie}
        socket = await open_socket(answer.json["socket"], self.broker, additional_headers=cookie)
        terminal = Terminal(socket, answer.json["id"])
        self.things[name] = Socket(terminal)
        await terminal.attach(answer.json["ticket"])
        await terminal.until(PROMPT)
        if busy:
            await terminal.run(self.busy)
            await terminal.until(b"flood\r\nflood")

    async def open_by_token(self) -> None:
        terminal = await open_terminal(self.broker, self.host.name, person=self.person)
        self.things["by token"] = Socket(terminal)
        await terminal.until(PROMPT)

    async def open_watched(self) -> None:
        """bob watches her idle terminal, by invitation."""
        session = self.things["web"].terminal.id
        share = {"role": "watcher", "person": "bob"}
        answer = await self.do(self.browser.call, "POST", f"/api/v1/sessions/{session}/shares", share)
        assert answer.status == 201, answer.body
        secret = answer.json["url"].partition("#")[2]
        asked = await self.do(self.broker.api, "POST", "/shares/ask", {"secret": secret}, "bob")
        admitted = {"role": "watcher", "admission": asked["admission"]}
        ticket = await self.do(self.broker.api, "POST", f"/sessions/{session}/tickets", admitted, "bob")
        watcher = Terminal(await open_socket(ticket["socket"], self.broker), session)
        self.things["watched"] = Socket(watcher)
        await watcher.attach(ticket["ticket"])

    async def rows(self) -> list[dict[str, Any]]:
        """Of all their sessions."""
        rows = await self.do(self.broker.api, "GET", "/sessions?limit=1000", None, "auditor")
        return [row for row in rows["items"] if row["person"] == self.person]

    async def close(self) -> None:
        """What outlives its client ends as well: it would keep the machine busy for the rest of the tests."""
        for thing in self.things.values():
            await thing.close()
        for row in await self.rows():
            if row["state"] != "ended":
                await self.do(self.broker.call, "DELETE", f"/api/v1/sessions/{row['id']}", None, "admin")


@pytest.fixture
def stage(broker: Broker, host: Machine, tmp_path: Path):
    @asynccontextmanager
    async def opened(
        on: Machine = host, *, busy: str = STREAM, by_group: bool = False, tagged: bool = False, **grant: Any
    ) -> AsyncIterator[Holdings]:
        person = f"r{next(_people)}"
        client = Client(tmp_path / person, broker, person, [on])
        browser = Browser(broker)
        it = Holdings(broker, on, person, client, browser, busy)
        facts = {"person": person, "host": on.name, **grant}
        if by_group:
            facts |= {"person": None, "group": f"team-{person}"}
            group = f"groups=[Group.objects.create(name='team-{person}')]"
            await it.act(f"set_roles(person=find_person({person!r}), admin=False, {group}, actor=OPERATOR)")
        if tagged:
            tags = "tags={'site': 'berlin'}"
            await it.act(f"change_tags(host=Host.objects.get(name={on.name!r}), {tags}, actor=OPERATOR)")
        facts = {name: value for name, value in facts.items() if value is not None}
        body = {"logins": [LOGIN], "capabilities": ALL_RIGHTS, **facts}
        it.grant = (await it.do(broker.api, "POST", "/grants", body, "admin", 201))["id"]
        await it.do(client.add_key)
        await it.do(browser.log_in, person)
        await it.do(eventually, lambda: client.ssh(person).returncode == 0, "the gateway knows the key", 60)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(it.close)
            async with asyncio.TaskGroup() as group:
                group.create_task(it.open_ssh("ssh", busy=False))
                group.create_task(it.open_ssh("busy ssh", busy=True))
                group.create_task(it.spawn("command", "echo ready; cat", shows=b"ready"))
                group.create_task(it.spawn("busy command", it.busy, shows=b"flood\nflood"))
                group.create_task(it.open_sftp())
                group.create_task(it.open_way())
                group.create_task(it.open_by_token())
                group.create_task(it.open_web("web", busy=False))
            await it.open_watched()
            await it.open_web("busy web", busy=True)
            assert set(it.things) == EVERYTHING
            yield it

    return opened


async def check(it: Holdings, gone: set[str], reason: str, *, told: str = "", within: float = SOON_S) -> None:
    """Those in `gone` end in time, the others go on. `reason` stands in the rows of those that ended, and is what they
    say; `told` is what the connections of stock ssh say in its place."""
    began = time.monotonic()
    took: dict[str, float] = {}

    async def one(name: str) -> str:
        try:
            said = await it.things[name].ended((within + SLOW_S) * SCALE)
        except TimeoutError:
            raise AssertionError(f"{name} goes on after {within + SLOW_S} s") from None
        took[name] = time.monotonic() - began
        return said

    names = sorted(gone)
    said = dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))
    print({name: round(seconds, 2) for name, seconds in sorted(took.items())})
    for name in gone - {"watched"}:
        words = (reason, told) if told and name in OVER_SSH else (reason,)
        # Nobody adds words to the bytes of a way: its row has them, and the connection where that ends.
        assert name == "way" or any(one in said[name] for one in words), (name, said[name][-500:])
    for name in EVERYTHING - gone:
        assert await it.things[name].is_alive(), name
    rows: list[Any] = []
    async with asyncio.timeout(60 * SCALE):
        while len(rows) < len(gone - {"watched"}):  # each is written down a moment after its end
            rows = [row for row in await it.rows() if row["state"] == "ended"]
    assert len(rows) == len(gone - {"watched"})
    assert [row["reason"] for row in rows if reason not in row["reason"]] == []


# One withdrawal each

WITHDRAWN = "access was withdrawn: "


def test_somebody_looks_that_often():
    """At what another process has committed, and at the clock."""
    assert changes.REGULAR_S + changes.POLL_S <= SOON_S


async def test_a_grant_that_is_revoked(stage):
    async with stage(busy=FLOOD) as it:
        await it.do(it.broker.manage, "revoke_access", str(it.grant))
        await check(it, EVERYTHING, f"{WITHDRAWN}no grant gives {it.person} access")


async def test_a_membership_that_ends(stage):
    async with stage(by_group=True) as it:
        await it.act(f"set_roles(person=find_person({it.person!r}), admin=False, groups=[], actor=OPERATOR)")
        await check(it, EVERYTHING, f"{WITHDRAWN}no grant gives {it.person} access")


async def test_a_tag_that_goes(stage):
    async with stage(host=None, tag="site=berlin", tagged=True) as it:
        await it.act(f"change_tags(host=Host.objects.get(name={it.host.name!r}), tags={{}}, actor=OPERATOR)")
        await check(it, EVERYTHING, f"{WITHDRAWN}no grant gives {it.person} access")


async def test_a_network_that_goes(stage):
    """A grant from anywhere is revoked, and one that holds from elsewhere is left."""
    async with stage() as it:
        body = {"person": it.person, "host": it.host.name, "logins": [LOGIN], "capabilities": ALL_RIGHTS}
        await it.do(it.broker.api, "POST", "/grants", {**body, "networks": ["10.0.0.0/8"]}, "admin", 201)
        await it.do(it.broker.manage, "revoke_access", str(it.grant))
        await check(it, EVERYTHING, "does not hold from 127.0.0.1")


async def test_a_time_window_that_closes_with_nobody_telling(stage):
    """No act and no audit event: the clock alone."""
    async with stage() as it:
        await it.act(f"Grant.objects.filter(pk={it.grant}).update(valid_until=timezone.now() + timedelta(seconds=3))")
        await check(it, EVERYTHING, "is not valid at this time", within=3 + SOON_S)


async def test_an_account_that_is_disabled(stage):
    async with stage() as it:
        await it.do(it.broker.manage, "disable_person", it.person)
        await check(it, EVERYTHING, f"{it.person} is disabled", told="its account disabled")


async def test_a_host_that_is_revoked(stage, broker, tmp_path):
    with machine(tmp_path, "rev2", broker) as host:
        host.bring_up()
        async with stage(on=host) as it:
            await it.do(it.broker.manage, "revoke_host", host.name)
            await check(it, EVERYTHING, "", told="")
            assert {row["state"] for row in await it.rows()} == {"ended"}
            assert host.agent and await it.do(host.agent.wait, 20 * SCALE) is not None, "and its tunnel"


async def test_an_ssh_key_that_is_removed(stage):
    """Also the shell of an interactive session ends, which outlives a connection that is only lost."""
    async with stage(busy=FLOOD) as it:
        listed = await it.do(it.broker.manage, "list_keys", it.person)
        fingerprint = next(word for word in listed.stdout.split() if word.startswith("SHA256:"))
        await it.do(it.broker.manage, "remove_key", it.person, fingerprint)
        await check(it, OVER_SSH, "the SSH key that opened this was removed", told="this key was removed")


async def test_an_api_token_that_is_revoked(stage):
    async with stage() as it:
        await it.act(f"revoke_api_token(token=ApiToken.objects.get(person__username={it.person!r}), actor=OPERATOR)")
        await check(it, {"by token"}, "the API token that opened this terminal is not valid any more")


async def test_an_api_token_that_expires_with_nobody_telling(stage):
    async with stage() as it:
        await it.act(f"ApiToken.objects.filter(person__username={it.person!r}).update(expires_at=timezone.now())")
        await check(it, {"by token"}, "the API token that opened this terminal is not valid any more")


async def test_logging_out(stage):
    async with stage(busy=FLOOD) as it:
        assert (await it.do(it.browser.submit, "/logout/")).status == 302
        await check(it, OF_LOGIN, "the portal login that opened this terminal has ended")


async def test_a_login_that_is_ended_from_another_browser(stage):
    async with stage() as it:
        other = await it.do(Browser(it.broker).log_in, it.person)
        await it.do(other.call, "GET", "/account/")
        assert (await it.do(other.submit, "/account/logins/end-others")).status == 302
        await check(it, OF_LOGIN, "the portal login that opened this terminal has ended")


async def test_a_password_that_changes(stage):
    """In another browser: that one goes on, with what was opened from it."""
    async with stage() as it:
        other = await it.do(Browser(it.broker).log_in, it.person)
        it.browser = other
        await it.open_web("other", busy=False)
        new = {"password1": "a wholly new one", "password2": "a wholly new one"}
        answer = await it.do(lambda: other.submit("/account/password/", oldpassword=PASSWORD, **new))
        assert answer.status == 302
        await check(it, OF_LOGIN, "the portal login that opened this terminal has ended")
        assert await it.things["other"].is_alive()


async def test_a_second_factor_that_is_required_from_now_on(stage):
    async with stage() as it:
        host = f"Host.objects.get(name={it.host.name!r})"
        await it.act(f"set_second_factor(host={host}, required=True, actor=OPERATOR)")
        try:
            await check(it, EVERYTHING, "a second factor is required here now")
        finally:
            await it.act(f"set_second_factor(host={host}, required=False, actor=OPERATOR)")


async def test_end_everything_of_this_person_now(stage):
    async with stage() as it:
        words = ("--person", it.person, "--logins", "--reason", "she left the company")
        told = await it.do(it.broker.manage, "end_sessions", *words)
        assert told.stdout.splitlines() == ["9 terminal sessions ended", "1 login to the portal ended"]
        await check(it, EVERYTHING, "she left the company")
        assert (await it.do(it.browser.call, "GET", "/account/")).status == 302


# Between the decision and the beginning


class Thing:
    """Something open over SSH."""

    bytes_in = bytes_out = 0

    def __init__(self) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def close(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)


class Unanswered:
    """A registry with a tunnel of every host, at the end of which nobody answers."""

    def get(self, host_id: UUID) -> Any:
        async def never(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        return Mock(create_connection=never, closed=asyncio.get_running_loop().create_future())


LIMITS = Limits(grace_s=60, idle_s=300, longest_s=3600)


@pytest.mark.django_db(transaction=True)
async def test_a_grant_that_goes_between_the_decision_and_the_way(alice):
    """Nobody is told: the round of the change came too early to find it, and no other comes in this test."""
    host = await in_database(make_host)("web1")
    grant = await in_database(give)(alice, host, capabilities=["forward"])
    row = await in_database(session_row)(alice, host, way="end-to-end", login="")
    await in_database(revoke_grant)(grant=grant, actor=OPERATOR)
    async with Held(node="node-1", registry=TunnelRegistry(), limits=LIMITS) as held:
        thing = Thing()
        held.hold(row, Watched(row.pk, capability=Capability.FORWARD), GrantLimits(), thing)
        reason = await asyncio.wait_for(thing.closed, 20 * SCALE)
    assert reason == "access was withdrawn: no grant gives alice access to web1"


@pytest.mark.django_db(transaction=True)
async def test_a_grant_that_goes_between_the_decision_and_the_terminal(alice):
    host = await in_database(make_host)("web1")
    host.host_keys = [key_line("web1")]
    await in_database(host.save)()
    grant = await in_database(give)(alice, host)
    row = await in_database(session_row)(alice, host)
    await in_database(revoke_grant)(grant=grant, actor=OPERATOR)
    terminals = LiveTerminals(node="node-1", registry=Unanswered(), limits=LIMITS)
    async with terminals:
        terminals.begin(row, Watched(row.pk), GrantLimits(), cols=80, rows=24)
        await until(lambda: not len(terminals), "the terminal has ended")
    row = await in_database(Session.objects.get)(pk=row.pk)
    assert row.reason == "access was withdrawn: no grant gives alice access to web1"
