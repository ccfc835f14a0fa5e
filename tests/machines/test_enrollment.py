"""The acts on enrollments and hosts: asked, approved, rejected, revoked, renamed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.machines.helpers import ADDRESS, ADMIN, ask, body, events, key_line
from tunnels.enrollment import approve_enrollment, poll_token, reject_enrollment, request_enrollment
from tunnels.errors import Conflict, Invalid, NotFound
from tunnels.hosts import change_login, change_tags, rename_host, revoke_host
from tunnels.keys import parse_public_key
from tunnels.models import AuditEvent, Host, State
from tunnels.tokens import create_enrollment_token

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_enrollment")]


def approve(host: Host) -> Host:
    return approve_enrollment(host=host, fingerprint=host.fingerprint, actor=ADMIN)


def test_a_request_is_stored_as_it_was_made():
    host, is_new = request_enrollment(**body(login="pi", tunnel_port=22500, address=ADDRESS))
    host.refresh_from_db()
    assert is_new and host.state == State.PENDING
    assert (host.login, host.tunnel_port, host.address) == ("pi", 22500, ADDRESS)
    assert host.info["os"] == "Debian 12"
    assert host.host_keys == [parse_public_key(key_line("sshd of web1")).line]
    assert re.fullmatch(r"[2-9A-HJKMNP-TV-Z]{4}-[2-9A-HJKMNP-TV-Z]{4}", host.code)
    entry = AuditEvent.objects.get()
    assert (entry.event, entry.host, entry.address) == ("enrollment.requested", "web1", ADDRESS)
    assert entry.detail["fingerprint"] == host.fingerprint


def test_the_same_host_key_twice_counts_once():
    assert len(ask(host_keys=[key_line("sshd"), f"{key_line('sshd')} comment"]).host_keys) == 1


def test_the_lowest_free_port_is_given(settings):
    settings.BROKERD = replace(settings.BROKERD, tunnel_ports=range(22100, 22103))
    assert [ask("a").tunnel_port, ask("b", tunnel_port=22102).tunnel_port, ask("c").tunnel_port] == [
        22100,
        22102,
        22101,
    ]
    with pytest.raises(Conflict, match="all tunnel ports"):
        ask("d")
    reject_enrollment(host=Host.objects.get(name="a"), actor=ADMIN)
    assert ask("d").tunnel_port == 22100


@pytest.mark.parametrize("state", [*State])
def test_a_known_key_answers_the_same_row_whatever_became_of_it(state):
    host = ask("web1")
    Host.objects.update(state=state)
    again, is_new = request_enrollment(**body("web9", public_key=key_line("agent of web1"), address="192.0.2.9"))
    assert not is_new and again.pk == host.pk and again.state == state
    assert (again.name, again.address, poll_token(again)) == ("web1", ADDRESS, poll_token(host))


def test_a_token_sent_with_a_known_key_is_not_used_up():
    ask("web1")
    token, secret = create_enrollment_token(name="t", actor=ADMIN)
    assert ask("web1", token=secret).state == State.PENDING
    token.refresh_from_db()
    assert token.used == 0


def test_an_approving_token_approves_what_waits_unchanged():
    ask("web1")
    token, secret = create_enrollment_token(name="t", auto_approve=True, tags={"site": "berlin"}, actor=ADMIN)
    for changes in ({"host_keys": [key_line("evil sshd")]}, {"name": "web2", "public_key": key_line("agent of web1")}):
        assert ask(**{"token": secret, **changes}).state == State.PENDING
    host = ask("web1", token=secret)
    token.refresh_from_db()
    assert (host.state, host.tag_map, token.used) == (State.APPROVED, {"site": "berlin"}, 1)


def test_a_spent_approving_token_leaves_what_waits_waiting():
    _, secret = create_enrollment_token(name="t", auto_approve=True, actor=ADMIN)
    ask("web0", token=secret)
    ask("web1")
    assert ask("web1", token=secret).state == State.PENDING


def test_approval_pins_the_host_keys():
    host = approve(ask())
    assert host.state == State.APPROVED and host.decided_by == "admin" and host.decided_at
    assert events() == ["enrollment.requested", "host.approved", "host.key_pinned"]
    pinned = AuditEvent.objects.get(event="host.key_pinned")
    assert pinned.person == "admin"
    assert pinned.detail["fingerprints"] == [parse_public_key(key_line("sshd of web1")).fingerprint]


def test_approval_needs_the_fingerprint_that_was_shown():
    host = ask()
    with pytest.raises(Invalid):
        approve_enrollment(host=host, fingerprint="", actor=ADMIN)
    with pytest.raises(Conflict):
        approve_enrollment(host=host, fingerprint="SHA256:of another key", actor=ADMIN)
    host.refresh_from_db()
    assert host.state == State.PENDING
    assert events()[1:] == ["!host.approved", "!host.approved"]


def test_a_key_swapped_in_between_is_not_approved():
    seen = ask("web1")
    reject_enrollment(host=seen, actor=ADMIN)
    swapped = ask("web1", public_key=key_line("evil agent"))
    with pytest.raises(Conflict):
        approve_enrollment(host=swapped, fingerprint=seen.fingerprint, actor=ADMIN)
    with pytest.raises(Conflict, match="taken"):
        approve(seen)


def test_a_rejected_one_may_be_approved_while_its_name_and_port_are_free():
    host = ask("web1")
    reject_enrollment(host=host, actor=ADMIN)
    taker = ask("db1", tunnel_port=host.tunnel_port)
    with pytest.raises(Conflict, match="port"):
        approve(host)
    reject_enrollment(host=taker, actor=ADMIN)
    assert approve(host).state == State.APPROVED


def test_states_change_in_their_order_only():
    host = approve(ask())
    for refused in (approve, lambda host: reject_enrollment(host=host, actor=ADMIN)):
        with pytest.raises(Conflict, match="approved"):
            refused(host)
    assert revoke_host(host=host, actor=ADMIN).state == State.REVOKED
    for refused in (approve, lambda host: revoke_host(host=host, actor=ADMIN)):
        with pytest.raises(Conflict, match="revoked"):
            refused(host)
    with pytest.raises(Conflict, match="pending"):
        revoke_host(host=ask("web2"), actor=ADMIN)


def test_the_row_is_read_again():
    seen = ask()
    reject_enrollment(host=Host.objects.get(pk=seen.pk), actor=ADMIN)
    assert seen.state == State.PENDING
    with pytest.raises(Conflict):
        reject_enrollment(host=seen, actor=ADMIN)
    Host.objects.get().delete()
    with pytest.raises(NotFound):
        approve(seen)


def test_a_revoked_host_lets_go_of_name_and_port():
    host = approve(ask("web1"))
    revoke_host(host=host, actor=ADMIN)
    successor = ask("web1", public_key=key_line("new agent"))
    assert (successor.name, successor.tunnel_port) == ("web1", host.tunnel_port)


def test_renaming():
    host = approve(ask("web1"))
    ask("web2")
    assert rename_host(host=host, name="www", actor=ADMIN).name == "www"
    assert AuditEvent.objects.get(event="host.renamed").detail == {"old": "web1", "name": "www"}
    with pytest.raises(Conflict, match="taken"):
        rename_host(host=host, name="web2", actor=ADMIN)
    with pytest.raises(Invalid):
        rename_host(host=host, name="W W W", actor=ADMIN)
    revoke_host(host=host, actor=ADMIN)
    with pytest.raises(Conflict, match="revoked"):
        rename_host(host=host, name="web3", actor=ADMIN)


def test_login_and_tags():
    host = ask("web1")
    assert change_login(host=host, login="pi", actor=ADMIN).login == "pi"
    with pytest.raises(Invalid):
        change_login(host=host, login="p i", actor=ADMIN)
    change_tags(host=host, tags={"site": "berlin", "os": "debian"}, actor=ADMIN)
    assert change_tags(host=host, tags={"site": "bonn"}, actor=ADMIN).tag_map == {"site": "bonn"}
    with pytest.raises(Invalid):
        change_tags(host=host, tags={"Site": "x"}, actor=ADMIN)
    assert Host.objects.get().tag_map == {"site": "bonn"}
    assert events()[1:] == [
        "setting.changed", "!setting.changed", "setting.changed", "setting.changed", "!setting.changed",
    ]  # fmt: skip
