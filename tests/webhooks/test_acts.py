"""The acts on webhooks: what they change, what they refuse, and what the audit says of them."""

from __future__ import annotations

import json
import stat

import pytest
from django.conf import settings
from django.core.management import call_command

from terminals.models import Delivery, Webhook
from terminals.webhooks import acts
from terminals.webhooks.news import Kind
from terminals.webhooks.queue import look
from terminals.webhooks.secret import secret_of
from tests.people.helpers import events, last_event
from tests.webhooks.helpers import ADMIN, make_webhook, open_sessions, queued
from tunnels.errors import Conflict, Invalid, NotFound
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db
SECRET_URL = "https://hooks.example/services/T0/B0/hunter2?key=hunter2"


def test_added():
    webhook, secret = acts.create_webhook(name="chat", url=SECRET_URL, events=["host.online"], actor=ADMIN)
    assert secret.startswith("whsec_")
    assert (webhook.events, webhook.created_by, webhook.allows_private) == (["host.online"], "admin", False)
    told = last_event()
    assert (told.event, told.person, told.address) == ("setting.changed", "admin", "192.0.2.1")
    assert (told.detail["setting"], told.detail["change"]) == ("webhook", "added")
    assert told.detail["to"] == "https://hooks.example"


def test_the_audit_holds_neither_secret_nor_path():
    webhook, secret = acts.create_webhook(name="chat", url=SECRET_URL, events=Kind, actor=ADMIN)
    secrets = {secret, acts.rotate_secret(webhook=webhook, actor=ADMIN)}
    acts.send_test(webhook=webhook, actor=ADMIN)
    acts.disable_webhook(webhook=webhook, actor=ADMIN)
    acts.remove_webhook(webhook=webhook, actor=ADMIN)
    assert AuditEvent.objects.count() == 5
    kept = json.dumps([entry.detail for entry in AuditEvent.objects.all()])
    assert "hunter2" not in kept
    assert not [secret for secret in secrets if secret in kept]


def test_a_stolen_database_holds_no_secret(capsys):
    webhook, secret = acts.create_webhook(name="chat", url=SECRET_URL, events=Kind, actor=ADMIN)
    acts.send_test(webhook=webhook, actor=ADMIN)
    call_command("dumpdata")
    dump = capsys.readouterr().out
    assert str(webhook.pk) in dump
    assert secret not in dump and secret.removeprefix("whsec_") not in dump
    key = settings.BROKERD.data_dir / "keys" / "webhook_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text() not in dump


def test_each_webhook_and_each_rotation_has_a_secret_of_its_own():
    one, two = make_webhook(name="one"), make_webhook(name="two")
    first = secret_of(one)
    assert first == secret_of(Webhook.objects.get(pk=one.pk)), "derived, the same each time"
    second = acts.rotate_secret(webhook=one, actor=ADMIN)
    assert len({first, second, secret_of(two)}) == 3
    assert secret_of(Webhook.objects.get(pk=one.pk)) == second


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "a\u202eb"},
        {"url": "http://chat.example/"},
        {"url": "https://169.254.169.254/"},
        {"events": []},
        {"events": ["session.opened", "person.logged_in"]},
    ],
)
def test_what_is_refused_leaves_nothing_but_its_audit(wrong):
    given = {"name": "chat", "url": SECRET_URL, "events": ["host.online"], **wrong}
    with pytest.raises(Invalid):
        acts.create_webhook(**given, actor=ADMIN)
    assert not Webhook.objects.exists()
    assert events() == ["!setting.changed"]


def test_there_is_a_limit(monkeypatch):
    monkeypatch.setattr(acts, "MAX_WEBHOOKS", 2)
    make_webhook(), make_webhook()
    with pytest.raises(Conflict):
        make_webhook()


def test_a_new_webhook_is_not_told_of_the_past():
    open_sessions("web1")
    webhook = make_webhook()
    look(since=0)
    assert queued(webhook) == []
    open_sessions("web2")
    look(since=0)
    assert queued(webhook) == ["session.opened web2"]


def test_disabled_and_enabled():
    webhook = make_webhook()
    acts.disable_webhook(webhook=webhook, actor=ADMIN)
    open_sessions("web1")
    look(since=0)
    acts.enable_webhook(webhook=webhook, actor=ADMIN)
    open_sessions("web2")
    look(since=0)
    assert queued(webhook) == ["session.opened web2"], "not of what happened meanwhile"
    with pytest.raises(Conflict):
        acts.enable_webhook(webhook=webhook, actor=ADMIN)
    acts.disable_webhook(webhook=webhook, actor=ADMIN)
    with pytest.raises(Conflict):
        acts.disable_webhook(webhook=webhook, actor=ADMIN)


def test_other_events():
    webhook = make_webhook(events=["host.online"])
    acts.choose_events(webhook=webhook, events=["session.opened", "host.approved"], actor=ADMIN)
    webhook.refresh_from_db()
    assert webhook.events == ["session.opened", "host.approved"]
    assert last_event().detail["events"] == webhook.events
    with pytest.raises(Invalid):
        acts.choose_events(webhook=webhook, events=["everything"], actor=ADMIN)


def test_a_test_takes_its_turn():
    webhook = make_webhook(events=["session.opened"])
    open_sessions("web1")
    look(since=0)
    acts.send_test(webhook=webhook, actor=ADMIN)
    look(since=0)
    assert queued(webhook) == ["session.opened web1", "webhook.test "]
    assert json.loads(Delivery.objects.last().body)["person"] == "admin"
    acts.disable_webhook(webhook=webhook, actor=ADMIN)
    with pytest.raises(Conflict):
        acts.send_test(webhook=webhook, actor=ADMIN)


def test_removed_with_its_deliveries():
    webhook = make_webhook()
    acts.send_test(webhook=webhook, actor=ADMIN)
    acts.remove_webhook(webhook=webhook, actor=ADMIN)
    assert not Webhook.objects.exists() and not Delivery.objects.exists()
    for act in (acts.remove_webhook, acts.rotate_secret, acts.disable_webhook, acts.send_test):
        with pytest.raises(NotFound):
            act(webhook=webhook, actor=ADMIN)
