"""`tunnels.reach`: from the broker to a host's SSH server through an agent's connection, all in this process."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import asyncssh
import pytest

from tests.core.agent import make_machine, node
from tests.core.host import fake_host
from tests.core.waiting import PATIENCE_S, until
from tunnels import reach
from tunnels.certificates import LOOPBACK
from tunnels.keystore import authority_key
from tunnels.reach import HostKeyMismatch, HostUnreachable, LoginRefused

pytestmark = pytest.mark.django_db(transaction=True)


class Person:
    """Answers what is asked; without answers left, never."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bool]] = []
        self.told: list[str] = []

    async def ask(self, prompt: str, *, echo: bool) -> str | None:
        self.asked.append((prompt, echo))
        if not self.answers:
            await asyncio.Event().wait()
        return self.answers.pop(0)

    def tell(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def machine(db):
    return make_machine("web1")


@pytest.fixture
async def road(machine):
    """`async with road(host)`: the live tunnel to it."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(node())

        @asynccontextmanager
        async def make(port: int):
            async with broker.agent(machine, to=port):
                yield broker.registry.get(machine.host.pk)

        yield make


async def connect(tunnel, *host_keys: str, person: Person | None = None, login: str = "root"):
    return await reach.connect(
        tunnel,
        host="web1",
        login=login,
        host_keys=host_keys,
        key_id="alice session 1",
        asker=person or Person(),
    )


@asynccontextmanager
async def listening(serve):
    """A TCP server that is no SSH server; its port."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_in_by_certificate(road):
    async with fake_host(authority=authority_key()) as host, road(host.port) as tunnel:
        async with await connect(tunnel, host.key_line) as connection:
            assert host.doors[0].username == "root"
            seen = host.doors[0].connection
            assert [str(one) for one in seen.get_certificate_option("source-address")] == LOOPBACK
            assert seen.get_extra_info("peername")[0] == "127.0.0.1"
            assert not seen.check_certificate_permission("port-forwarding")
            assert connection.get_extra_info("send_cipher").endswith("gcm@openssh.com")
        await until(lambda: host.open_doors == 0)


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_every_kind_of_pinned_key(road, algorithm):
    key = asyncssh.generate_private_key(algorithm)
    async with fake_host(key=key) as host, road(host.port) as tunnel, await connect(tunnel, host.key_line):
        pass


async def test_any_of_several_pinned_keys(road):
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key("openssh").decode()
    async with fake_host() as host, road(host.port) as tunnel, await connect(tunnel, other, host.key_line):
        pass


def another(algorithm: str) -> str:
    return asyncssh.generate_private_key(algorithm).export_public_key("openssh").decode()


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_another_key_than_the_pinned_one_is_a_mismatch(road, algorithm):
    """Of the same algorithm or, because the host does not show the pinned one at all, of another (trap 9)."""
    person = Person("secret")
    async with fake_host(authority=authority_key(), password="secret") as host, road(host.port) as tunnel:
        with pytest.raises(HostKeyMismatch):
            await connect(tunnel, another(algorithm), person=person)
        assert person.asked == [] and person.told == [] and host.tried == []
        await until(lambda: host.open_doors == 0)


async def test_without_a_pinned_key_nothing_is_dialled(road):
    async with fake_host() as host, road(host.port) as tunnel:
        with pytest.raises(HostUnreachable, match="the host key of web1 is not known yet"):
            await connect(tunnel)
        assert host.doors == []


async def test_by_password_where_the_certificate_is_not_trusted(road):
    person = Person("wrong", "secret")
    async with fake_host(password="secret") as host, road(host.port) as tunnel:
        async with await connect(tunnel, host.key_line, person=person, login="guest"):
            assert host.tried == ["wrong", "secret"]
        assert person.asked == [("guest's password: ", False)] * 2


async def test_questions_are_made_safe_and_asked_with_or_without_echo(road):
    person = Person("s3cret", "123456")
    questions = [("Pass\x1b[2Jword: ", False), ("Code: ", True)]
    async with (
        fake_host(questions=questions, answers=["s3cret", "123456"], banner="Staff only\r\n\x1b[31mred") as host,
        road(host.port) as tunnel,
        await connect(tunnel, host.key_line, person=person),
    ):
        assert person.asked == [("Pass<U+001B>[2Jword: ", False), ("Code: ", True)]
        assert person.told == ["Staff only", "<U+001B>[31mred", "Second <U+001B> factor", "look at<U+202E> your phone"]


async def test_a_wrong_answer_is_refused_after_a_few(road):
    person = Person(*["wrong"] * 10)
    async with fake_host(password="secret") as host, road(host.port) as tunnel:
        with pytest.raises(LoginRefused, match="web1 does not let root in"):
            await connect(tunnel, host.key_line, person=person)
        assert len(person.asked) == reach.MAX_ASKED
        await until(lambda: host.open_doors == 0)


async def test_giving_up_is_a_refusal(road):
    async with fake_host(password="secret") as host, road(host.port) as tunnel:
        with pytest.raises(LoginRefused):
            await connect(tunnel, host.key_line, person=Person(None))
        assert host.tried == []


async def test_nobody_answers_in_time(road, monkeypatch):
    monkeypatch.setattr(reach, "ANSWER_TIMEOUT_S", 0.1)
    async with fake_host(password="secret") as host, road(host.port) as tunnel:
        with pytest.raises(LoginRefused, match="web1 asked, and nobody answered in time"):
            await connect(tunnel, host.key_line, person=Person())
        await until(lambda: host.open_doors == 0)


async def test_a_slow_person_has_more_time_than_the_machines(road, monkeypatch):
    monkeypatch.setattr(reach, "CONNECT_TIMEOUT_S", 3)

    class Slow(Person):
        async def ask(self, prompt, *, echo):
            await asyncio.sleep(3.2)
            return "secret"

    async with (
        fake_host(password="secret") as host,
        road(host.port) as tunnel,
        await connect(tunnel, host.key_line, person=Slow()),
    ):
        pass


async def test_a_silent_host_times_out_and_leaves_nothing_open(road, monkeypatch):
    monkeypatch.setattr(reach, "CONNECT_TIMEOUT_S", 0.2)
    gone = asyncio.Event()

    async def say_nothing(reader, writer):
        await reader.read(1000)  # our version
        while await reader.read(1000):
            pass
        gone.set()
        writer.close()

    async with listening(say_nothing) as port, road(port) as tunnel:
        with pytest.raises(HostUnreachable, match="the SSH server of web1 did not answer in time"):
            await connect(tunnel, another("ssh-ed25519"))
        await asyncio.wait_for(gone.wait(), PATIENCE_S)
        assert not tunnel.closed.done(), "the tunnel itself is as good as before"


async def test_cancelling_leaves_nothing_open(road):
    async with fake_host(password="secret") as host, road(host.port) as tunnel:
        person = Person()
        task = asyncio.create_task(connect(tunnel, host.key_line, person=person))
        await until(lambda: person.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: host.open_doors == 0)
        await until(lambda: tunnel.connection._channels == {})


async def test_no_ssh_server_at_the_other_end(road):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # ours, so that nobody else answers there
        port = silent.getsockname()[1]
        async with road(port) as tunnel:
            with pytest.raises(HostUnreachable, match="does not answer through its tunnel"):
                await connect(tunnel, another("ssh-ed25519"))


async def test_something_else_at_the_other_end(road):
    async def http(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        writer.close()

    async with listening(http) as port, road(port) as tunnel:
        with pytest.raises(HostUnreachable):
            await connect(tunnel, another("ssh-ed25519"))


async def test_the_tunnel_goes_while_dialling(road):
    async with fake_host(password="secret") as host, road(host.port) as tunnel:
        person = Person()
        task = asyncio.create_task(connect(tunnel, host.key_line, person=person))
        await until(lambda: person.asked)
        tunnel.close("revoked")
        with pytest.raises(HostUnreachable):
            await asyncio.wait_for(task, PATIENCE_S)


async def test_the_broker_forwards_nothing_for_a_host(road):
    """Whatever a host asks of us in return: there is nothing to have."""
    async with fake_host() as host, road(host.port) as tunnel, await connect(tunnel, host.key_line):
        back = host.doors[0].connection
        with pytest.raises((asyncssh.ChannelOpenError, asyncssh.Error)):
            await back.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", 8000)
