"""POST and GET /api/v1/enrollments: every refusal is a clear problem, and stores nothing."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from types import SimpleNamespace

import asyncssh
import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application

import tunnels.api
from tests.core.waiting import Clock
from tests.machines.helpers import ADDRESS, ADMIN, ask, body, events, key_line, post
from tunnels import keystore
from tunnels.enrollment import approve_enrollment, poll_token, reject_enrollment
from tunnels.hosts import revoke_host
from tunnels.models import AuditEvent, Host
from tunnels.tokens import create_enrollment_token, revoke_enrollment_token

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_enrollment")]


def assert_problem(response, status: int, *words: str) -> dict:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["type"] and problem["title"]
    assert problem["instance"] == response.wsgi_request.path
    for word in words:
        assert word in problem["detail"]
    return problem


def poll(client, enrollment, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return client.get(f"/api/v1/enrollments/{enrollment}", headers=headers)


def test_a_machine_enrolls_waits_and_is_approved(client, settings):
    response = post(client, body(login="pi"))
    assert response.status_code == 201
    answer = response.json()
    host = Host.objects.get()
    assert answer["id"] == str(host.pk) and answer["state"] == "pending" and answer["login"] == "pi"
    assert answer["fingerprint"] == asyncssh.import_public_key(key_line("agent of web1")).get_fingerprint()
    assert answer["ca_public_key"] == keystore.authority_line()
    gateway = settings.BROKERD.gateway_address
    assert answer["gateway"] == {"host": gateway.host, "port": gateway.port, "host_keys": keystore.gateway_lines()}
    assert answer["tunnel_port"] == 22100 and answer["code"] == host.code

    assert poll(client, host.pk, answer["poll_token"]).json()["state"] == "pending"
    approve_enrollment(host=host, fingerprint=answer["fingerprint"], actor=ADMIN)
    told = poll(client, host.pk, answer["poll_token"]).json()
    assert told["state"] == "approved"
    assert told == {**{key: value for key, value in answer.items() if key != "poll_token"}, "state": "approved"}


def test_the_same_key_again_answers_the_same(client):
    first = post(client, body())
    again = post(client, body("other", public_key=key_line("agent of web1"), tunnel_port=22150))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Host.objects.count() == 1


def test_a_rejected_key_learns_it(client):
    host = ask()
    reject_enrollment(host=host, actor=ADMIN)
    response = post(client, body())
    assert response.status_code == 200 and response.json()["state"] == "rejected"


PRIVATE = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh").decode()
BAD = {
    "no name": (body() | {"name": None}, "name"),
    "upper case": (body("Web1"), "host name"),
    "localhost": (body("localhost"), "host name"),
    "dots": (body("web1.example"), "host name"),
    "empty name": (body(""), "host name"),
    "long name": (body("a" * 64), "host name"),
    "newline in name": (body("web1\n"), "host name"),
    "escape in name": (body("web\x1b[2J"), "host name"),
    "name not text": (body() | {"name": 5}, "name"),
    "unknown field": (body(admin=True), "admin"),
    "private key": (body(public_key=PRIVATE), "private key"),
    "private host key": (body(host_keys=[PRIVATE]), "private key"),
    "unknown key type": (body(public_key="ssh-dss AAAAB3NzaC1kc3MAAACB"), "key type"),
    "damaged key": (body(public_key="ssh-ed25519 AAAA"), "damaged"),
    "not a key": (body(public_key="hello"), "ALGORITHM"),
    "weak RSA": (body(public_key=key_line("weak", "ssh-rsa", key_size=1024)), "1024"),
    "weak RSA host key": (body(host_keys=[key_line("weak", "ssh-rsa", key_size=1024)]), "1024"),
    "two lines": (body(public_key=key_line("agent of web1") + "\nssh-ed25519 AAAA"), "one line"),
    "endless key": (body(public_key="ssh-rsa " + "A" * 9000), "public_key"),
    "no host keys": (body(host_keys=[]), "host_keys"),
    "too many host keys": (body(host_keys=[key_line(f"sshd {n}") for n in range(11)]), "host_keys"),
    "far too many host keys": (body(host_keys=[key_line("sshd")] * 500), "host_keys"),
    "agent key is a host key": (body(host_keys=[key_line("agent of web1")]), "host keys"),
    "bad login": (body(login="root; reboot"), "login"),
    "control in login": (body(login="ro\x07ot"), "login"),
    "low port": (body(tunnel_port=22), "22100"),
    "huge port": (body(tunnel_port=10**30), "tunnel_port"),
    "port as text": (body(tunnel_port="22100"), "tunnel_port"),
    "control in info": (body(info={"hostname": "a\x1b]0;x\x07"}), "info"),
    "direction in info": (body(info={"os": "a\u202eb"}), "info"),
    "long info": (body(info={"os": "x" * 201}), "os"),
    "unknown info": (body(info={"cpu": "6502"}), "cpu"),
    "a list": ([], ""),
    "nothing": ({}, "name"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_and_not_stored(client, case):
    request, word = BAD[case]
    problem = assert_problem(post(client, request), 422, word)
    assert "PRIVATE" not in json.dumps(problem)
    assert not Host.objects.exists()


def test_no_private_key_reaches_the_audit(client):
    assert_problem(post(client, body(public_key=PRIVATE)), 422)
    entry = AuditEvent.objects.get()
    assert entry.event == "enrollment.refused" and entry.outcome == "refused"
    assert PRIVATE.splitlines()[1] not in json.dumps(entry.detail)


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": "\\ud800"}'])
def test_what_is_not_json_is_refused(client, raw):
    response = post(client, raw)
    assert response.status_code in (400, 422)
    assert_problem(response, response.status_code)
    assert not Host.objects.exists()


def test_two_megabytes_are_too_large(client):
    assert_problem(post(client, body(name="a" * 2_000_000)), 413)
    assert not Host.objects.exists()


async def test_two_megabytes_without_a_length_are_too_large_as_well():
    scope = {"type": "http", "method": "POST", "path": "/api/v1/enrollments", "query_string": b""}
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    server = ApplicationCommunicator(get_asgi_application(), {**scope, "headers": headers, "client": (ADDRESS, 1)})
    await server.send_input({"type": "http.request", "body": b'"' + b"a" * 2_000_000 + b'"'})
    start = await server.receive_output(timeout=60)
    assert start["status"] == 413
    assert json.loads((await server.receive_output(timeout=60))["body"])["status"] == 413


def test_a_taken_name_and_a_taken_port_are_conflicts(client):
    ask("web1")
    assert_problem(post(client, body("web1", public_key=key_line("another"))), 409, "taken")
    assert_problem(post(client, body("web2", tunnel_port=22100)), 409, "taken")
    assert Host.objects.count() == 1


def test_without_a_token_only_when_enrollment_is_open(client, settings):
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=False)
    assert_problem(post(client, body()), 403, "token")
    assert not Host.objects.exists()
    assert events() == ["!enrollment.refused"]


def test_all_bad_tokens_are_refused_alike(client):
    def token(**options):
        return create_enrollment_token(name="t", actor=ADMIN, **options)

    used, expired, revoked, named = token(), token(), token(), token(host_name="db1")
    assert post(client, body("web0", token=used[1])).status_code == 201
    expired[0].expires_at = expired[0].created_at
    expired[0].save()
    revoke_enrollment_token(token=revoked[0], actor=ADMIN)
    secrets = [used[1], expired[1], revoked[1], named[1], "bet_unknown", ""]
    answers = [post(client, body(token=secret)) for secret in secrets]
    problems = [assert_problem(answer, 403, "token") for answer in answers]
    assert all(problem == problems[0] for problem in problems)
    assert Host.objects.count() == 1


def test_many_requests_from_one_address_are_slowed_down(client, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("tunnels.api.time", SimpleNamespace(monotonic=clock))
    for number in range(20):
        assert post(client, body(f"web{number}")).status_code == 201
    response = post(client, body("web21"))
    assert_problem(response, 429)
    assert response["Retry-After"] == "3"
    assert Host.objects.count() == 20
    from_elsewhere = client.post(
        "/api/v1/enrollments", body("web21"), content_type="application/json", REMOTE_ADDR="203.0.113.1"
    )
    assert from_elsewhere.status_code == 201
    clock.now += 3
    assert post(client, body("web0")).status_code == 200


def test_waiting_requests_are_bounded(client, monkeypatch):
    monkeypatch.setattr("tunnels.enrollment.MAX_PENDING", 2)
    ask("web1"), ask("web2")
    assert_problem(post(client, body("web3")), 429)
    _, secret = create_enrollment_token(name="t", actor=ADMIN)
    assert post(client, body("web3", token=secret)).status_code == 201


def test_waiting_requests_of_one_address_are_bounded(client, monkeypatch):
    monkeypatch.setattr("tunnels.enrollment.MAX_PENDING_OF_SOURCE", 1)
    ask("web1")
    assert_problem(post(client, body("web2")), 429)
    from_elsewhere = client.post(
        "/api/v1/enrollments", body("web2"), content_type="application/json", REMOTE_ADDR="203.0.113.1"
    )
    assert from_elsewhere.status_code == 201


def test_polling_needs_the_poll_token(client):
    host, other = ask("web1"), ask("web2")
    for token in (None, "", "wrong", "ü", poll_token(other)):
        response = poll(client, host.pk, token)
        assert_problem(response, 401)
        assert response["WWW-Authenticate"].startswith("Bearer")
    assert_problem(poll(client, uuid.uuid4(), poll_token(host)), 401)
    assert poll(client, host.pk, poll_token(host)).status_code == 200


def test_polling_what_is_gone_is_not_found(client):
    host = ask()
    token, pk = poll_token(host), host.pk
    host.delete()
    assert_problem(poll(client, pk, token), 404)


def test_a_revoked_machine_learns_it(client):
    host = ask()
    approve_enrollment(host=host, fingerprint=host.fingerprint, actor=ADMIN)
    revoke_host(host=host, actor=ADMIN)
    assert poll(client, host.pk, poll_token(host)).json()["state"] == "revoked"


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/", "/api/v1/enrollments/not-a-uuid", "/api/v1/"])
def test_unknown_paths_are_problems(client, path):
    assert_problem(client.get(path), 404)


def test_a_wrong_method_is_a_problem(client):
    response = client.delete("/api/v1/enrollments")
    assert_problem(response, 405)
    assert "POST" in response["Allow"]


def test_an_unexpected_error_tells_nothing(client, monkeypatch):
    def explode(**_):
        raise RuntimeError("the secret is 1234")

    monkeypatch.setattr(tunnels.api, "request_enrollment", explode)
    problem = assert_problem(post(client, body()), 500)
    assert "1234" not in json.dumps(problem)


def test_the_api_describes_itself(client):
    schema = client.get("/api/v1/openapi.json").json()
    assert "/api/v1/enrollments" in schema["paths"]
    page = client.get("/api/v1/docs")
    assert page.status_code == 200 and b"cdn." not in page.content
