"""Webhooks over REST: an admin's, by login or by a token that is made for it."""

from __future__ import annotations

import pytest

from terminals.api_tokens import Scope
from terminals.models import Webhook
from terminals.webhooks.secret import secret_of
from tests.people.helpers import Api, events, make_token
from tests.webhooks.helpers import make_webhook

pytestmark = pytest.mark.django_db
GIVEN = {"name": "chat", "url": "https://chat.example/x", "events": ["host.online", "session.opened"]}


def test_added_listed_removed(admin):
    api = Api(admin)
    answer = api.post("/webhooks", GIVEN)
    made = answer.json()
    webhook = Webhook.objects.get()
    assert (answer.status_code, made["id"], made["secret"]) == (201, str(webhook.pk), secret_of(webhook))
    (listed,) = api.get("/webhooks").json()["items"]
    assert "secret" not in listed
    assert (listed["events"], listed["allow_private"], listed["enabled"]) == (
        ["session.opened", "host.online"],
        False,
        True,
    )
    assert api.delete(f"/webhooks/{made['id']}").status_code == 204
    assert api.delete(f"/webhooks/{made['id']}").status_code == 404
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://chat.example/"},
        {"url": "https://10.0.0.1/"},
        {"events": []},
        {"events": ["everything"]},
        {"name": ""},
        {"secret": "mine"},
        {"url": "https://chat.example/" + "x" * 500},
    ],
)
def test_refused(admin, changes):
    assert Api(admin).post("/webhooks", {**GIVEN, **changes}).status_code == 422
    assert not Webhook.objects.exists()


@pytest.mark.parametrize("who", ["alice", "bob", "charlie", "auditor"])
def test_for_admins_only(request, who):
    api, webhook = Api(request.getfixturevalue(who)), make_webhook()
    before = len(events())
    answers = [api.get("/webhooks"), api.post("/webhooks", GIVEN), api.delete(f"/webhooks/{webhook.pk}")]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert events()[before:] == ["!setting.changed"] * 2
    assert Webhook.objects.count() == 1


def test_by_token(admin):
    assert Api(token=make_token(admin, Scope.WEBHOOKS)).get("/webhooks").status_code == 200
    assert Api(token=make_token(admin, Scope.GRANTS)).get("/webhooks").status_code == 403
    assert Api().get("/webhooks").status_code == 401


def test_in_pages(admin):
    for number in range(3):
        make_webhook(name=f"w{number}")
    api = Api(admin)
    first = api.get("/webhooks?limit=2").json()
    second = api.get(f"/webhooks?limit=2&cursor={first['next']}").json()
    assert [item["name"] for item in first["items"] + second["items"]] == ["w0", "w1", "w2"]
    assert second["next"] is None
