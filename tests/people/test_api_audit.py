"""REST for the audit log: auditors read, filter and export it; nobody else does."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from terminals.api.audit import NDJSON
from tests.people.helpers import ADDRESS, Api, last_event, make_token
from tunnels.audit import Actor, Event, record, verify
from tunnels.models import AuditEvent


@pytest.fixture
def story(db) -> list[AuditEvent]:
    told = [
        (Event.GRANT_CREATED, {"actor": Actor("admin"), "host": "web1"}),
        (
            Event.SESSION_OPENED,
            {"actor": Actor("alice"), "host": "web1", "session": "7b1f0c56-5f4e-4b4b-8b7e-0d8e0a3f6c11"},
        ),
        (Event.SESSION_REFUSED, {"actor": Actor("charlie"), "host": "web1", "refused": True}),
        (Event.SESSION_OPENED, {"actor": Actor("bob"), "host": "db1"}),
    ]
    with transaction.atomic():
        return [record(event, **facts) for event, facts in told]


def shown(answer) -> list[tuple[str, str]]:
    return [(item["event"], item["person"]) for item in answer.json()["items"]]


def test_three_people_and_who_else_does_not_read_it(alice, bob, charlie, admin, auditor, story):
    for person in (alice, bob, charlie, admin):
        assert Api(person).get("/audit").status_code == 403
        assert Api(person).get("/audit", Accept=NDJSON).status_code == 403
    assert Api(auditor).get("/audit").status_code == 200
    assert not AuditEvent.objects.filter(event="audit.exported").exists()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("event=session.opened", ["bob", "alice"]),
        ("event=session.opened&host=web1", ["alice"]),
        ("person=charlie", ["charlie"]),
        ("outcome=refused", ["charlie"]),
        ("session=7b1f0c56-5f4e-4b4b-8b7e-0d8e0a3f6c11", ["alice"]),
        ("event=session.opened&outcome=refused", []),
        ("person=' OR 1=1", []),
    ],
)
def test_filters(auditor, story, query, expected):
    assert [person for _, person in shown(Api(auditor).get(f"/audit?{query}"))] == expected


def test_since_and_until(auditor, story):
    api, middle = Api(auditor), story[2].time
    stamp = middle.isoformat().replace("+", "%2B")
    assert [person for _, person in shown(api.get(f"/audit?until={stamp}"))] == ["alice", "admin"]
    late = (timezone.now() + timedelta(hours=1)).isoformat().replace("+", "%2B")
    assert shown(api.get(f"/audit?since={late}")) == []
    assert ("session.refused", "charlie") in shown(api.get(f"/audit?since={stamp}"))


@pytest.mark.parametrize(
    "query", ["event=nonsense", "outcome=maybe", "session=x", "since=yesterday", "since=2026-01-01T00:00:00", "limit=0"]
)
def test_bad_filters(auditor, query):
    assert Api(auditor).get(f"/audit?{query}").status_code == 422


def test_pages_hold_the_whole_chain(auditor, story):
    api, seen, cursor = Api(auditor), [], ""
    while cursor is not None:
        answer = api.get(f"/audit?limit=2{cursor and '&cursor=' + cursor}").json()
        seen += answer["items"]
        cursor = answer["next"]
    assert [item["sequence"] for item in seen] == list(range(len(seen), 0, -1))
    assert seen[-1]["previous_hash"] == "0" * 64
    assert verify(AuditEvent.objects.order_by("sequence")) is None


async def read(answer) -> list[dict]:
    chunks = [chunk async for chunk in answer.streaming_content]
    return [json.loads(line) for line in b"".join(chunks).splitlines()]


async def test_export_streams_and_is_itself_audited(auditor_and_story, monkeypatch):
    from asgiref.sync import sync_to_async

    monkeypatch.setattr("terminals.audit_log.BATCH", 2)
    api = await sync_to_async(Api)(token=auditor_and_story)
    answer = await sync_to_async(api.get)("/audit?host=web1", Accept=NDJSON)
    assert (answer.status_code, answer["Content-Type"]) == (200, NDJSON)
    lines = await read(answer)
    assert [line["person"] for line in lines] == ["admin", "alice", "charlie"]
    event = await sync_to_async(last_event)()
    assert (event.event, event.person, event.address) == ("audit.exported", "auditor", ADDRESS)
    assert event.detail == {"filters": {"host": "web1"}}


@pytest.fixture
def auditor_and_story(transactional_db, auditor, story) -> str:
    """A token: the stream reads in threads of its own, which see only what was committed."""
    return make_token(auditor)
