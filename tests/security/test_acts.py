"""Every act leaves exactly one event: whatever function changes something for somebody is in the table, and is tried.

The routes, pages and commands call these (`tests/core/test_architecture.py` sees to it that rows are written nowhere
else); so an act that is new, and not in the table, fails.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from django.utils import timezone

from terminals import api_tokens, audit_log, grants, groups, keys, people, second_factor, session_log, sessions, shares
from terminals.models import Delivery, Recording, Share, Webhook
from terminals.replay import access
from terminals.second_factor import BY_TOKEN
from terminals.webhooks import acts as webhooks
from tests.core.rows import give, session_row
from tests.core.test_architecture import SOURCES, tree
from tests.machines.helpers import ADDRESS, ask, body, key_line
from tests.people.helpers import make_host
from tunnels import enrollment, hosts, presence, rotation, tokens
from tunnels.audit import Actor, Event
from tunnels.keystore import Role
from tunnels.models import AuditEvent, Host

ADMIN = Actor("admin", "192.0.2.1")


@pytest.fixture
def stage(alice, bob, transactional_db, settings, tmp_path) -> SimpleNamespace:
    """Something to do each of them to."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    settings.BROKERD = replace(settings.BROKERD, data_dir=data_dir, open_enrollment=True)
    web1 = make_host("web1", online=True)
    give(alice, web1, capabilities=["terminal", "share", "forward"])
    session = session_row(alice, web1)
    Client().force_login(bob)
    return SimpleNamespace(
        alice=alice,
        bob=bob,
        web1=web1,
        waiting=ask("waiting"),
        group=Group.objects.create(name="ops"),
        session=session,
        soon=timezone.now() + timedelta(minutes=5),
    )


def a_token(s):
    return api_tokens.create_api_token(person=s.alice, name="t", scopes=[], expires_at=None, actor=ADMIN)[0]


def an_enrollment_token(s, **more):
    facts = {"host_name": "", "uses": 1, "expires_in_s": 60, "auto_approve": False, "tags": {}, **more}
    return tokens.create_enrollment_token(name="t", actor=ADMIN, **facts)


def a_key(s):
    return keys.add_key(person=s.alice, text=key_line("alice's"), actor=ADMIN)


def a_share(s):
    return shares.create_share(
        session=s.session, role=Share.Role.WATCHER, expires_at=s.soon, owner=s.alice, actor=Actor("alice")
    )[0]


def a_webhook(s) -> Webhook:
    facts = {"name": "pager", "url": "https://192.0.2.1/", "events": ["session.opened"], "allows_private": True}
    return webhooks.create_webhook(**facts, actor=ADMIN)[0]


def a_delivery(s) -> Delivery:
    webhooks.send_test(webhook=a_webhook(s), actor=ADMIN)
    return Delivery.objects.get()


def disabled(s) -> Webhook:
    webhook = a_webhook(s)
    webhooks.disable_webhook(webhook=webhook, actor=ADMIN)
    return Webhook.objects.get(pk=webhook.pk)


def a_factor(s):
    TOTP.activate(s.bob, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXQ")


def disabled_person(s):
    people.disable_person(person=s.bob, actor=ADMIN)


def rotating(s):
    rotation.begin_rotation(role=Role.GATEWAY, actor=ADMIN)


def opened(s, act, **more):
    facts = {"person": s.alice, "node": "n1", "address": ADDRESS, "proof": BY_TOKEN, "is_online": lambda _: True}
    return act(**facts, **more)


def nothing(s) -> None:
    return None


Act = tuple[Callable, Callable, str]
"""What has to be there before; the act on it; the one event that it leaves."""
SETTING = "setting.changed"
ACTS: dict[str, Act] = {
    "terminals.api_tokens.create_api_token": (nothing, lambda s, _: a_token(s), "token.created"),
    "terminals.api_tokens.revoke_api_token": (
        a_token,
        lambda s, token: api_tokens.revoke_api_token(token=token, actor=ADMIN),
        "token.revoked",
    ),
    "terminals.audit_log.note_export": (nothing, lambda s, _: audit_log.note_export(actor=ADMIN), "audit.exported"),
    "terminals.grants.create_grant": (
        nothing,
        lambda s, _: grants.create_grant(person=s.bob, host=s.web1, logins=["root"], actor=ADMIN),
        "grant.created",
    ),
    "terminals.grants.revoke_grant": (
        lambda s: give(s.bob, s.web1),
        lambda s, grant: grants.revoke_grant(grant=grant, actor=ADMIN),
        "grant.revoked",
    ),
    "terminals.groups.create_group": (nothing, lambda s, _: groups.create_group(name="dev", actor=ADMIN), SETTING),
    "terminals.groups.rename_group": (
        nothing,
        lambda s, _: groups.rename_group(group=s.group, name="dev", actor=ADMIN),
        SETTING,
    ),
    "terminals.groups.delete_group": (nothing, lambda s, _: groups.delete_group(group=s.group, actor=ADMIN), SETTING),
    "terminals.keys.add_key": (nothing, lambda s, _: a_key(s), "key.added"),
    "terminals.keys.remove_key": (a_key, lambda s, key: keys.remove_key(key=key, actor=ADMIN), "key.removed"),
    "terminals.people.create_person": (
        nothing,
        lambda s, _: people.create_person(name="erin", password="a good long password", actor=ADMIN),
        "person.created",
    ),
    "terminals.people.disable_person": (nothing, lambda s, _: disabled_person(s), "person.disabled"),
    "terminals.people.enable_person": (
        disabled_person,
        lambda s, _: people.enable_person(person=s.bob, actor=ADMIN),
        SETTING,
    ),
    "terminals.people.set_roles": (
        nothing,
        lambda s, _: people.set_roles(person=s.bob, admin=True, groups=[s.group], actor=ADMIN),
        SETTING,
    ),
    "terminals.people.set_password": (
        nothing,
        lambda s, _: people.set_password(person=s.bob, password="a good long password", actor=ADMIN),
        SETTING,
    ),
    "terminals.people.end_login": (
        lambda s: s.bob.web_logins.get(),
        lambda s, login: people.end_login(login=login, actor=ADMIN),
        SETTING,
    ),
    "terminals.people.end_logins": (nothing, lambda s, _: people.end_logins(person=s.bob, actor=ADMIN), SETTING),
    "terminals.people.end_everything": (
        nothing,
        lambda s, _: people.end_everything(person=s.bob, reason="left", actor=ADMIN),
        SETTING,
    ),
    "terminals.people.remove_factors": (
        a_factor,
        lambda s, _: people.remove_factors(person=s.bob, actor=ADMIN),
        SETTING,
    ),
    "terminals.replay.access.note_viewing": (
        lambda s: Recording.objects.create(session=s.session),
        lambda s, recording: in_one(access.note_viewing, recording, actor=ADMIN, way="played"),
        "recording.viewed",
    ),
    "terminals.second_factor.set_second_factor": (
        nothing,
        lambda s, _: second_factor.set_second_factor(host=s.web1, required=True, actor=ADMIN),
        SETTING,
    ),
    "terminals.session_log.note_search": (
        nothing,
        lambda s, _: in_one(session_log.note_search, actor=ADMIN, words="root", sessions=[s.session.pk]),
        "recording.viewed",
    ),
    "terminals.sessions.end_session": (
        nothing,
        lambda s, _: sessions.end_session(session_id=s.session.pk, reason="ended", actor=ADMIN),
        "session.ended",
    ),
    "terminals.sessions.note_refusal": (
        nothing,
        lambda s, _: sessions.note_refusal(event=Event.SESSION_REFUSED, actor=ADMIN, reason="no"),
        "!session.refused",
    ),
    "terminals.sessions.open_session": (
        nothing,
        lambda s, _: opened(s, sessions.open_session, host_name="web1", login="root"),
        "session.opened",
    ),
    "terminals.sessions.open_forward": (
        nothing,
        lambda s, _: opened(s, sessions.open_forward, name="web1", port=22),
        "forward.opened",
    ),
    "terminals.sessions.note_key_mismatch": (
        nothing,
        lambda s, _: sessions.note_key_mismatch(session_id=s.session.pk),
        "!host.key_mismatch",
    ),
    "terminals.shares.create_share": (nothing, lambda s, _: a_share(s), "share.created"),
    "terminals.shares.revoke_share": (
        a_share,
        lambda s, share: shares.revoke_share(share=share, actor=Actor("alice")),
        "share.revoked",
    ),
    "terminals.webhooks.acts.create_webhook": (nothing, lambda s, _: a_webhook(s), SETTING),
    "terminals.webhooks.acts.choose_events": (
        a_webhook,
        lambda s, hook: webhooks.choose_events(webhook=hook, events=["host.approved"], actor=ADMIN),
        SETTING,
    ),
    "terminals.webhooks.acts.disable_webhook": (
        a_webhook,
        lambda s, hook: webhooks.disable_webhook(webhook=hook, actor=ADMIN),
        SETTING,
    ),
    "terminals.webhooks.acts.enable_webhook": (
        disabled,
        lambda s, hook: webhooks.enable_webhook(webhook=hook, actor=ADMIN),
        SETTING,
    ),
    "terminals.webhooks.acts.rotate_secret": (
        a_webhook,
        lambda s, hook: webhooks.rotate_secret(webhook=hook, actor=ADMIN),
        SETTING,
    ),
    "terminals.webhooks.acts.remove_webhook": (
        a_webhook,
        lambda s, hook: webhooks.remove_webhook(webhook=hook, actor=ADMIN),
        SETTING,
    ),
    "terminals.webhooks.acts.send_test": (
        a_webhook,
        lambda s, hook: webhooks.send_test(webhook=hook, actor=ADMIN),
        SETTING,
    ),
    "terminals.webhooks.acts.deliver_again": (
        a_delivery,
        lambda s, delivery: webhooks.deliver_again(delivery=delivery, actor=ADMIN),
        SETTING,
    ),
    "tunnels.enrollment.request_enrollment": (
        nothing,
        lambda s, _: enrollment.request_enrollment(**body("other", address=ADDRESS)),
        "enrollment.requested",
    ),
    "tunnels.enrollment.request_pairing": (
        nothing,
        lambda s, _: enrollment.request_pairing(
            name="paired", public_key=key_line("paired"), client="SSH-2.0-x", address=ADDRESS
        ),
        "enrollment.requested",
    ),
    "tunnels.enrollment.approve_enrollment": (
        lambda s: Host.objects.filter(pk=s.waiting.pk).update(host_keys=[]),  # else these are pinned, which is another
        lambda s, _: enrollment.approve_enrollment(
            host=Host.objects.get(name="waiting"), fingerprint=s.waiting.fingerprint, actor=ADMIN
        ),
        "host.approved",
    ),
    "tunnels.enrollment.reject_enrollment": (
        nothing,
        lambda s, _: enrollment.reject_enrollment(host=s.waiting, actor=ADMIN),
        "host.rejected",
    ),
    "tunnels.enrollment.give_way": (
        nothing,
        lambda s, _: in_one(enrollment.give_way, fingerprint=s.waiting.fingerprint, owner="alice", actor=ADMIN),
        "!enrollment.refused",
    ),
    "tunnels.enrollment.pin_host_keys": (
        nothing,
        lambda s, _: enrollment.pin_host_keys(host=s.web1, lines=[key_line("sshd")], address=ADDRESS),
        "host.key_pinned",
    ),
    "tunnels.enrollment.take_port": (
        lambda s: make_host("other"),
        lambda s, host: enrollment.take_port(host=host, port=23000, address=ADDRESS),
        SETTING,
    ),
    "tunnels.hosts.revoke_host": (nothing, lambda s, _: hosts.revoke_host(host=s.web1, actor=ADMIN), "host.revoked"),
    "tunnels.hosts.rename_host": (
        nothing,
        lambda s, _: hosts.rename_host(host=s.web1, name="web9", actor=ADMIN),
        "host.renamed",
    ),
    "tunnels.hosts.change_login": (
        nothing,
        lambda s, _: hosts.change_login(host=s.web1, login="pi", actor=ADMIN),
        SETTING,
    ),
    "tunnels.hosts.change_tags": (
        nothing,
        lambda s, _: hosts.change_tags(host=s.web1, tags={"site": "x"}, actor=ADMIN),
        SETTING,
    ),
    "tunnels.presence.open_tunnel": (
        lambda s: make_host("other"),
        lambda s, host: presence.open_tunnel(host_id=host.pk, node="n", address=ADDRESS, client="x", lease_s=30),
        "tunnel.opened",
    ),
    "tunnels.presence.close_tunnel": (
        nothing,
        lambda s, _: presence.close_tunnel(host_id=s.web1.pk, epoch=s.web1.tunnel.epoch, reason="over"),
        "tunnel.closed",
    ),
    "tunnels.presence.note_local_opened": (
        nothing,
        lambda s, _: presence.note_local_opened(host="web1", address=ADDRESS, port=22100),
        "forward.opened",
    ),
    "tunnels.presence.note_local_closed": (
        nothing,
        lambda s, _: presence.note_local_closed(
            host="web1", address=ADDRESS, port=22100, reason="over", bytes_in=0, bytes_out=0
        ),
        "forward.closed",
    ),
    "tunnels.presence.note_refusal": (
        nothing,
        lambda s, _: presence.note_refusal(host="web1", address=ADDRESS, reason="no"),
        "!tunnel.refused",
    ),
    "tunnels.rotation.begin_rotation": (nothing, lambda s, _: rotating(s), SETTING),
    "tunnels.rotation.finish_rotation": (
        rotating,
        lambda s, _: rotation.finish_rotation(role=Role.GATEWAY, leave_behind=True, actor=ADMIN),
        SETTING,
    ),
    "tunnels.rotation.note_learned": (
        lambda s: rotation.begin_rotation(role=Role.GATEWAY, actor=ADMIN),
        lambda s, new: rotation.note_learned(role=Role.GATEWAY, host_id=s.web1.pk, fingerprint=new),
        SETTING,
    ),
    "tunnels.tokens.create_enrollment_token": (nothing, lambda s, _: an_enrollment_token(s), "token.created"),
    "tunnels.tokens.redeem": (
        an_enrollment_token,
        lambda s, made: tokens.redeem(secret=made[1], name="web5", actor=ADMIN),
        "token.used",
    ),
    "tunnels.tokens.revoke_enrollment_token": (
        an_enrollment_token,
        lambda s, made: tokens.revoke_enrollment_token(token=made[0], actor=ADMIN),
        "token.revoked",
    ),
}
NO_ACTS = {
    "tunnels.acts.act": "the frame of all",
    "tunnels.acts.check": "the same, around a look that changes nothing",
    "tunnels.audit.record": "writes the event",
    "terminals.pages.session_search.find_in_recordings": "note_search, for a page",
    "terminals.sessions.note_transfers": "an event for each file",
    "terminals.login_audit.note_failure": "for the doors of logins, see tests/people/test_login.py",
}
RECORDERS = {"act", "record", "audit.record", "_record", "_change", "_record_pinned"}


def in_one(act: Callable, *given, **facts):
    """For those that are parts of a transaction."""
    with transaction.atomic():
        return act(*given, **facts)


def acts_of_the_source() -> set[str]:
    """Public functions that do something for an `actor`, or put something on record."""
    found = set()
    for path in SOURCES:
        if path.parts[0] == "brokerd" or path.parts[:2] == ("tunnels", "agent"):
            continue
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                called = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
                if called & RECORDERS or "actor" in {argument.arg for argument in node.args.kwonlyargs}:
                    found.add(".".join([*path.with_suffix("").parts, node.name]))
    return found


def test_every_act_is_in_the_table():
    assert acts_of_the_source() == set(ACTS) | set(NO_ACTS)


@pytest.mark.parametrize("name", ACTS)
def test_it_leaves_exactly_one_event(stage, name):
    prepare, act, expected = ACTS[name]
    held = prepare(stage)
    before = AuditEvent.objects.count()
    act(stage, held)
    written = [
        f"{'!' if event.outcome == 'refused' else ''}{event.event}"
        for event in AuditEvent.objects.filter(sequence__gt=before).order_by("sequence")
    ]
    assert written == [expected]
