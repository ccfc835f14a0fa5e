"""What is told of an audit event, and what is not."""

from __future__ import annotations

import json

import pytest

from terminals.webhooks.news import Kind, body, tell
from tests.webhooks.helpers import entry
from tunnels.audit import Event


@pytest.mark.parametrize(
    ("event", "facts", "kind", "detail"),
    [
        (
            "session.opened",
            {"way": "ssh", "capability": "exec", "stated_reason": "disk", "command": "mysql -phunter2", "grant": 3},
            Kind.SESSION_OPENED,
            {"way": "ssh", "capability": "exec", "stated_reason": "disk"},
        ),
        (
            "session.ended",
            {"reason": "the shell ended", "owner": "alice", "bytes_in": 0, "bytes_out": 9, "recording": {"size": 7}},
            Kind.SESSION_ENDED,
            {"reason": "the shell ended", "owner": "alice", "bytes_in": 0, "bytes_out": 9, "recording": {"size": 7}},
        ),
        ("forward.opened", {"session": "s1", "recorded": False}, Kind.SESSION_OPENED, {"way": "end-to-end"}),
        (
            "forward.closed",
            {"session": "s1", "reason": "it hung up"},
            Kind.SESSION_ENDED,
            {"reason": "it hung up", "way": "end-to-end"},
        ),
        (
            "share.created",
            {"role": "watcher", "url": "https://broker/join/#hunter2", "digest": "hunter2", "guests": True},
            Kind.SESSION_SHARED,
            {"role": "watcher", "guests": True},
        ),
        (
            "enrollment.requested",
            {"fingerprint": "SHA256:x", "code": "ABCD-EFGH"},
            Kind.HOST_ENROLLED,
            {"fingerprint": "SHA256:x"},
        ),
        (
            "host.approved",
            {"fingerprint": "SHA256:x", "token": "office", "token_id": 4},
            Kind.HOST_APPROVED,
            {"fingerprint": "SHA256:x", "token": "office"},
        ),
    ],
)
def test_what_is_told(event, facts, kind, detail):
    told = tell(entry(event, person="alice", login="root", **facts))
    assert told is not None
    assert (told.event, told.host, told.person, told.login, told.detail) == (kind, "web1", "alice", "root", detail)
    assert "hunter2" not in body(told)


def test_what_was_refused_is_not_told():
    assert tell(entry("share.created", outcome="refused", role="watcher")) is None


def test_a_local_user_at_a_bound_port_is_nobodys_session():
    assert tell(entry("forward.opened", port=22100)) is None


def test_nothing_else_is_told():
    told = {str(event) for event in Event if tell(entry(event, session="s1"))}
    assert len(told) == 7
    assert not {event for event in told if event.startswith(("tunnel.", "token.", "person.", "key.", "setting."))}


def test_the_body():
    facts = entry("session.opened", 5, person="alice", login="root", session="s1", way="browser")
    news = tell(facts)
    assert news
    assert json.loads(body(news, missed=2)) == {
        "id": facts["id"],
        "event": "session.opened",
        "time": "1970-01-01T00:00:05+00:00",
        "sequence": facts["sequence"],
        "host": "web1",
        "person": "alice",
        "login": "root",
        "session": "s1",
        "detail": {"way": "browser"},
        "missed": 2,
    }


def test_hostile_text_stays_within_its_quotes():
    """Names reach the audit checked or made visible; whatever came through all the same is JSON text and ASCII."""
    news = tell(entry("session.ended", person='"},{"\u202e\ud800', reason='</script>"\\\r\n\x1b[2J'))
    assert news
    sent = body(news)
    assert sent.isascii()
    assert not any(ord(char) < 32 for char in sent)
    assert json.loads(sent)["detail"]["reason"] == '</script>"\\\r\n\x1b[2J'
