"""One attempt against a real server on loopback: the signature, and whatever a receiver can do instead of answering."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from brokerd.conf import BASE_DIR
from terminals.webhooks.sending import Order, Outcome, Sender
from terminals.webhooks.signing import sign
from tests.webhooks.certificate import make_certificate
from tests.webhooks.receiver import Flood, Receiver, drip, hang, hang_up, receiver, status

SECRET = "whsec_test"


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


def order(url: str, **changes) -> Order:
    made = Order(7, uuid4(), url, True, SECRET, "session.opened", '{"host": "web1"}', 3)
    return replace(made, **changes)


async def send(url: str, timeout_s: float = 30, **changes) -> Outcome:
    async with Sender(timeout_s) as sender:
        return await sender.send(order(url, **changes))


async def test_what_arrives(there):
    assert await send(there.url) == Outcome(204)
    (message,) = there.messages
    assert message.line == "POST /hook?team=a HTTP/1.1"
    assert message.body == b'{"host": "web1"}'
    sent = {name: message.headers[name] for name in ("host", "brokerd-event", "brokerd-delivery", "brokerd-attempt")}
    assert sent == {
        "host": f"127.0.0.1:{there.port}",
        "brokerd-event": "session.opened",
        "brokerd-delivery": "7",
        "brokerd-attempt": "3",
    }
    assert message.headers["content-type"] == "application/json"


async def test_it_verifies_as_the_docs_say(there):
    """With the very code that they give to receivers."""
    await send(there.url)
    (example,) = re.findall(r"```python\n(.*?)```", (BASE_DIR / "docs/webhooks.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(example, names)
    verify, message = names["verify"], there.messages[0]
    signature = message.headers["brokerd-signature"]
    assert verify(SECRET, signature, message.body)
    assert not verify("whsec_other", signature, message.body)
    assert not verify(SECRET, signature, message.body + b" ")
    assert not verify(SECRET, signature.replace("t=1", "t=2"), message.body)
    old = int(time.time()) - 301
    assert not verify(SECRET, sign(SECRET, message.body, old), message.body), "an old message, sent again"


@pytest.mark.parametrize("code", [200, 201, 202, 204])
async def test_taken(there, code):
    there.answer = status(code)
    assert await send(there.url) == Outcome(code)


@pytest.mark.parametrize("code", [400, 401, 404, 410, 429, 500, 503])
async def test_refused(there, code):
    there.answer = status(code, "the signature\r\ndoes \x1b[31mnot fit")
    assert await send(there.url) == Outcome(code, f"answers {code}: the signature does <U+001B>[31mnot fit")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(there, code):
    async with receiver() as elsewhere:
        there.answer = status(code, Location=elsewhere.url)
        assert await send(there.url) == Outcome(code, f"answers {code}: redirects are not followed")
        assert elsewhere.connections == 0


@pytest.mark.parametrize("answer", [hang, drip])
async def test_one_that_does_not_answer(there, answer):
    there.answer = answer
    assert await send(there.url, 2) == Outcome(None, "no answer within 2 s")
    assert len(there.messages) == 1


async def test_one_that_hangs_up(there):
    there.answer = hang_up
    outcome = await send(there.url)
    assert (outcome.status, bool(outcome.problem)) == (None, True)


@pytest.mark.parametrize("code", [200, 500])
async def test_an_answer_of_a_gigabyte_is_not_read(there, code):
    there.answer = flood = Flood(code)
    outcome = await send(there.url)
    assert outcome.status == code
    assert len(outcome.problem) < 200
    # What the kernel's buffers take, and no more.
    assert flood.written < 20_000_000


async def test_an_endless_header_is_cut(there):
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            writer.write(f"X-{number}: {'x' * 1000}\r\n".encode())
            await writer.drain()

    there.answer = endless
    outcome = await send(there.url)
    assert outcome.status is None
    assert "too long" in outcome.problem


async def test_nobody_there():
    async with receiver() as gone:
        pass
    outcome = await send(gone.url)
    assert (outcome.status, bool(outcome.problem)) == (None, True)


async def test_a_name_that_is_nobodys(monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert "not known" in (await send("http://nowhere.invalid/")).problem


async def test_a_lookup_that_hangs_is_within_the_time(monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers.wait(120))
    assert await send("http://slow.invalid/", 0.2) == Outcome(None, "no answer within 0.2 s")
    assert not answers.is_set()
    answers.set()


async def test_lookups_that_hang_keep_neither_others_waiting_nor_the_broker_from_ending(there, monkeypatch):
    answers, known = threading.Event(), socket.getaddrinfo

    def slowly(host: str, *args: Any, **kwargs: Any) -> Any:
        return known(host, *args, **kwargs) if host == "127.0.0.1" else answers.wait(120)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    others = set(threading.enumerate())
    async with Sender(3) as sender:
        hanging = [sender.send(order(f"http://slow{number}.invalid/")) for number in range(8)]
        *_, good = await asyncio.gather(*hanging, sender.send(order(there.url)))
        assert good == Outcome(204)
    stuck = [thread for thread in set(threading.enumerate()) - others if thread.name == "brokerd-call"]
    assert len(stuck) == 8 and all(thread.daemon for thread in stuck)
    answers.set()


# Where it may lead


def resolve_to(monkeypatch, *answers: list[str]) -> list[str]:
    """Names resolve to `answers`, one after the other. Returns what was asked for."""
    asked, left = [], list(answers)

    def getaddrinfo(host, port, **kwargs):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_that_leads_into_a_private_network_is_refused(there, monkeypatch):
    resolve_to(monkeypatch, ["127.0.0.1"])
    outcome = await send(f"https://inside.example:{there.port}/", allows_private=False)
    assert outcome == Outcome(None, "127.0.0.1 is in a private network, which this webhook may not lead to")
    assert there.connections == 0


async def test_a_name_that_leads_to_metadata_is_refused_even_where_private_is_allowed(monkeypatch):
    resolve_to(monkeypatch, ["169.254.169.254"])
    assert "no place for a webhook" in (await send("http://inside.example/")).problem


async def test_a_name_is_resolved_once_and_the_address_that_was_judged_is_dialled(there, monkeypatch):
    """DNS rebinding: the second answer would be another one. There is no second question."""
    asked = resolve_to(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    assert await send(f"http://inside.example:{there.port}/x") == Outcome(204)
    assert asked == ["inside.example"]
    assert there.messages[0].headers["host"] == f"inside.example:{there.port}"


async def test_of_several_addresses_only_good_ones_are_tried_each_in_turn(there, monkeypatch):
    resolve_to(monkeypatch, ["169.254.169.254", "127.0.0.9", "127.0.0.1"])
    assert await send(f"http://inside.example:{there.port}/x") == Outcome(204), "nobody listens on 127.0.0.9"


async def test_the_environment_names_no_proxy(there, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert await send(there.url) == Outcome(204)


async def test_the_path_which_often_is_a_password_is_in_no_log(there, caplog):
    caplog.set_level("INFO")
    assert await send(there.url) == Outcome(204)
    there.answer = status(500)
    await send(there.url)
    assert len(there.messages) == 2 and "hook" not in caplog.text, caplog.text


# TLS


async def test_a_certificate_that_nobody_knows_is_refused(tmp_path):
    tls, _ = make_certificate(tmp_path, "inside.example")
    async with receiver(tls) as there:
        outcome = await send(there.url)
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.problem
        assert there.messages == []


@pytest.mark.parametrize(("name", "is_taken"), [("inside.example", True), ("other.example", False)])
async def test_the_certificate_is_checked_for_the_name_not_the_address(tmp_path, monkeypatch, name, is_taken):
    tls, authority = make_certificate(tmp_path, "inside.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    resolve_to(monkeypatch, ["127.0.0.1"])
    async with receiver(tls) as there:
        outcome = await send(f"https://{name}:{there.port}/")
        assert (outcome == Outcome(204)) is is_taken, outcome
        assert len(there.messages) == is_taken
        assert is_taken or "Hostname mismatch" in outcome.problem
