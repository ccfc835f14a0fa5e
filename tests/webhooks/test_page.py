"""The page of webhooks: an admin's, and nobody else's."""

from __future__ import annotations

import pytest
from django.utils import timezone

from terminals.models import Delivery, Webhook
from terminals.webhooks.queue import due, look, note
from terminals.webhooks.secret import secret_of
from terminals.webhooks.sending import Outcome
from tests.pages.helpers import Browser, Page
from tests.pages.test_live import Live
from tests.people.helpers import events, last_event
from tests.webhooks.helpers import happen, make_webhook, open_sessions
from tunnels.audit import Actor, Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat() -> Webhook:
    return make_webhook("https://chat.example/hooks/T0?key=k", allows_private=False)


def told(chat: Webhook, *outcomes: Outcome) -> None:
    """As many sessions are opened, and this is what the receiver answers."""
    open_sessions(*(f"h{number}" for number in range(len(outcomes))))
    look(since=0)
    for outcome in outcomes:
        note(due(timezone.now(), busy=(), room=9)[0], outcome, timezone.now())


def states(page: Page) -> list[str]:
    rows = [tag for tag in page.all("tr") if "data-key" in tag.attrs]
    return [" ".join(row.text.split()) for row in rows]


def test_added_and_its_secret_is_shown_once(admin):
    browser = Browser(admin)
    assert "None yet." in browser.open("/webhooks/").text
    page = browser.send("/webhooks/", name="chat", url="https://chat.example/x", events=["host.online"])
    webhook = Webhook.objects.get()
    assert page.one("section", **{"aria-label": "The signing secret"}).text.count(secret_of(webhook)) == 1
    assert webhook.events == ["host.online"] and webhook.created_by == "admin"
    for path in ("/webhooks/", f"/webhooks/{webhook.pk}/"):
        assert "whsec_" not in browser.open(path).html


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://chat.example/x"}, "use https"),
        ({"url": "https://127.0.0.1/x"}, "private network"),
        ({"url": "http://169.254.169.254/x", "allows_private": "on"}, "no place for a webhook"),
        ({"events": None}, "This field is required."),
        ({"events": ["session.opened", "person.logged_in"]}, "person.logged_in"),
        ({"name": ""}, "This field is required."),
    ],
)
def test_what_is_refused_says_why_and_keeps_what_was_typed(admin, changes, words):
    browser = Browser(admin)
    browser.open("/webhooks/")
    page = browser.send("/webhooks/", **{"name": "chat", "url": "https://chat.example/x", **changes})
    assert words in page.text
    assert page.one("input", id="id_url").attrs["value"] == {"url": "https://chat.example/x", **changes}["url"]
    assert not Webhook.objects.exists()


def test_private_ones_when_ticked(admin):
    browser = Browser(admin)
    browser.open("/webhooks/")
    browser.send("/webhooks/", name="chat", url="http://10.0.0.1/x", allows_private="on")
    assert Webhook.objects.get().allows_private


def test_what_became_of_its_deliveries(admin, chat):
    told(chat, Outcome(204), Outcome(500, "answers 500: oh no"))
    page = Browser(admin).open(f"/webhooks/{chat.pk}/")
    assert "failing" in page.text and "1 waiting" in page.text
    failing, fine = states(page)
    assert "waiting until" in failing and "answers 500: oh no" in failing and "Try now" in failing
    assert "delivered" in fine and "204" in fine and "Again" in fine
    assert '"host": "h0"' in fine, "the body as it was sent"


def test_the_list_says_who_needs_a_look(admin, chat):
    make_webhook(name="calm", events=["host.online"])
    told(chat, Outcome(204), Outcome(500, "answers 500"))
    Delivery.objects.filter(delivered_at=None).update(next_attempt_at=None)
    Webhook.objects.filter(pk=chat.pk).update(missed=3)
    rows = {row.text.split()[0]: row.text for row in Browser(admin).open("/webhooks/").all("tr")}
    assert "1 given up" in rows["chat"] and "3 left out" in rows["chat"] and "chat.example" in rows["chat"]
    assert "given up" not in rows["calm"]


def test_a_test_and_again(admin, chat):
    browser = Browser(admin)
    path = f"/webhooks/{chat.pk}/"
    browser.open(path)
    assert browser.send(f"{path}test").messages == ["A test is on its way to chat."]
    note(due(timezone.now(), busy=(), room=9)[0], Outcome(204), timezone.now())
    row = Delivery.objects.get()
    browser.open(path)
    page = browser.send(f"{path}deliveries/{row.pk}/again")
    assert page.messages == [f"Delivery {row.pk} is sent again."]
    assert len(due(timezone.now(), busy=(), room=9)) == 1
    assert set(events()) == {"setting.changed"} and last_event().person == "admin"


def test_disabled_enabled_changed_rotated_removed(admin, chat):
    browser, path, old = Browser(admin), f"/webhooks/{chat.pk}/", secret_of(chat)
    browser.open(path)
    page = browser.send(f"{path}disable")
    assert "disabled" in page.text and not page.all("form", action=f"{path}test")
    browser.send(f"{path}enable")
    page = browser.send(f"{path}events", events=["host.offline"])
    ticked = [box.attrs["value"] for box in page.all("input", type="checkbox") if "checked" in box.attrs]
    assert ticked == ["host.offline"]
    assert "at least one" in browser.send(f"{path}events", events=None).messages[0]
    page = browser.send(f"{path}secret")
    chat.refresh_from_db()
    assert secret_of(chat) in page.html and secret_of(chat) != old
    browser.open(path)
    assert browser.send(f"{path}remove").messages == ["chat is removed."]
    assert not Webhook.objects.exists()


def test_it_changes_by_itself(admin, chat):
    live = Live(admin, f"/webhooks/{chat.pk}/")
    assert live.poll().status_code == 204
    told(chat, Outcome(500, "answers 500"))
    changes = live.changes()
    assert set(changes) == {"state", str(Delivery.objects.get().pk)}
    assert live.poll().status_code == 204


def test_of_another_webhook_no_delivery_is_sent(admin, chat):
    other = make_webhook(name="other")
    told(chat, Outcome(204))
    row = Delivery.objects.filter(webhook=chat).get()
    browser = Browser(admin)
    browser.open(f"/webhooks/{chat.pk}/")
    form = browser.page.form(f"/webhooks/{chat.pk}/deliveries/{row.pk}/again")
    assert browser.client.post(f"/webhooks/{other.pk}/deliveries/{row.pk}/again", form.fields).status_code == 404


@pytest.mark.parametrize("who", ["alice", "bob", "charlie", "auditor"])
def test_it_is_for_admins(request, who, chat):
    browser = Browser(request.getfixturevalue(who))
    assert "/webhooks/" not in browser.open("/").html
    for path in ("/webhooks/", f"/webhooks/{chat.pk}/", "/webhooks/00000000-0000-4000-8000-000000000000/"):
        assert browser.open(path).status == 403


def test_hostile_names_are_text(admin):
    hostile = """<img src=x onerror="alert(1)">'"""
    chat = make_webhook(f"https://chat.example/{hostile.replace(' ', '')}", name=hostile, allows_private=False)
    happen(Event.SESSION_OPENED, actor=Actor(hostile), host="web1", stated_reason="</pre><script>alert(1)</script>")
    look(since=0)
    note(due(timezone.now(), busy=(), room=9)[0], Outcome(500, "answers 500: <b onclick=x>"), timezone.now())
    browser = Browser(admin)
    for path in ("/webhooks/", f"/webhooks/{chat.pk}/"):
        page = browser.open(path)
        assert not [tag for tag in page.tags if {"onerror", "onclick"} & set(tag.attrs)]
        assert [tag.attrs.get("src") for tag in page.all("script")].count(None) == 0
        assert hostile in page.text
