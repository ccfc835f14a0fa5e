"""Who sees a recording, over REST and on the page: its owner and auditors. Each viewing is on record, once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from terminals.models import Recording
from terminals.recording.store import open_cast, path_of
from terminals.replay import access, build
from terminals.second_factor import set_second_factor
from tests.people.helpers import Api, events, make_host, make_token
from tunnels.audit import OPERATOR
from tunnels.models import AuditEvent

from .helpers import HELLO, begin, record

pytestmark = pytest.mark.django_db
PATHS = ("recording", "replay", "replay?at=0", "replay/segment?n=0&viewing=x", "replay/search?q=hello&viewing=x")


@pytest.fixture
def web1(db):
    return make_host("web1")


@pytest.fixture
def hers(alice, web1):
    """A recorded session of alice's."""
    return record(alice, web1)


def get(person, session_id, path):
    return Api(person).get(f"/sessions/{session_id}/{path}")


def viewing_event() -> AuditEvent:
    return AuditEvent.objects.get(event="recording.viewed")


async def whole(answer) -> bytes:
    return b"".join([part async for part in answer.streaming_content])


def opened(person, session_id) -> dict:
    answer = get(person, session_id, "replay")
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("path", PATHS)
def test_nobody_else_learns_that_it_is_there(hers, bob, charlie, admin, path):
    for person in (bob, charlie, admin):
        refused, unknown = get(person, hers.pk, path), get(person, uuid4(), path)
        assert refused.status_code == unknown.status_code == 404
        assert refused.json()["detail"] == unknown.json()["detail"]
    assert get(None, hers.pk, path).status_code == 401
    assert "recording.viewed" not in events()


@pytest.mark.parametrize("name", ["alice", "auditor"])
def test_its_owner_and_auditors_play_it(request, hers, name):
    person = request.getfixturevalue(name)
    facts = opened(person, hers.pk)
    assert facts["state"] == "ready"
    assert facts["marks"] == [[3.0, "bob joined"]]
    viewing = facts["viewing"]
    part = get(person, hers.pk, f"replay/segment?n=0&viewing={viewing}").json()
    assert [tuple(event) for event in part["events"]] == HELLO
    hits = get(person, hers.pk, f"replay/search?q=hello&viewing={viewing}").json()
    assert hits == {"items": [{"t": 1.0, "line": "hello there"}], "more": False}
    event = viewing_event()
    assert events().count("recording.viewed") == 1
    assert (event.person, event.session, event.host) == (name, str(hers.pk), "web1")
    assert event.detail == {"owner": "alice", "way": "played"}


def test_parts_are_only_for_a_viewing_that_is_on_record(hers, alice, auditor, web1, monkeypatch):
    others = record(alice, web1)
    theirs, of_another = opened(auditor, hers.pk)["viewing"], opened(alice, others.pk)["viewing"]
    for viewing in ("", "x", theirs, of_another):
        for path in (f"replay/segment?n=0&viewing={viewing}", f"replay/search?q=a&viewing={viewing}"):
            assert get(alice, hers.pk, path).status_code == 403
    own = opened(alice, hers.pk)["viewing"]
    assert get(alice, hers.pk, f"replay/segment?n=0&viewing={own}").status_code == 200
    monkeypatch.setattr(access, "VIEWING_S", -1)
    assert get(alice, hers.pk, f"replay/segment?n=0&viewing={own}").status_code == 403


@pytest.mark.parametrize("at", ["0", "1e-7", "0.999", "1", "4.999", "5", "39", "1e9"])
def test_it_is_opened_at_a_moment_by_one_request(alice, web1, monkeypatch, at):
    """What a segment would be asked for later comes along, as it is."""
    monkeypatch.setattr(build, "KEY_SIZE", 1)
    hers = record(alice, web1, [(second, "o", f"line {second} naïve\r\n") for second in range(40)], frame_size=25)
    answer = get(alice, hers.pk, f"replay?at={at}")
    assert answer["Cache-Control"] == "no-store"
    assert events().count("recording.viewed") == 1
    segment = answer.json()["segment"]
    keys = answer.json()["keys"]
    assert keys[:3] == [0, 1, 5]
    assert segment["n"] == sum(key <= float(at) for key in keys[1:])
    viewing = answer.json()["viewing"]
    assert segment == get(alice, hers.pk, f"replay/segment?n={segment['n']}&viewing={viewing}").json()
    plain = opened(alice, hers.pk)
    assert plain["segment"] is None
    assert {**answer.json(), "segment": None, "viewing": ""} == {**plain, "viewing": ""}


@pytest.mark.parametrize("at", ["-1", "nan", "inf", "x", ""])
def test_a_moment_that_cannot_be(hers, alice, at):
    assert get(alice, hers.pk, f"replay?at={at}").status_code == 422
    assert "recording.viewed" not in events()


@pytest.mark.parametrize("query", ["n=1", "n=-1", "n=x", "", "n=99999999999"])
def test_a_segment_that_is_not_there(hers, alice, query):
    viewing = opened(alice, hers.pk)["viewing"]
    assert get(alice, hers.pk, f"replay/segment?{query}&viewing={viewing}").status_code in (404, 422)


def test_the_download_is_the_asciicast(hers, alice):
    answer = get(alice, hers.pk, "recording")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-asciicast"
    assert answer["Content-Disposition"].startswith('attachment; filename="root-web1-')
    assert answer["Cache-Control"] == "no-store"
    text = async_to_sync(whole)(answer)
    assert text == b"".join(open_cast(path_of(hers.pk, hers.started_at)))
    assert json.loads(text.split(b"\n")[0])["version"] == 2
    assert viewing_event().detail == {"owner": "alice", "way": "downloaded"}


def test_a_login_with_odd_characters_makes_a_plain_file_name(hers, alice):
    hers.login = 'x"\r\n; y/../漢'
    hers.save()
    disposition = get(alice, hers.pk, "recording")["Content-Disposition"]
    assert disposition.count('"') == 2
    assert not set(disposition) & set("\r\n/;") - {";"}


def test_a_token_needs_the_scope(hers, alice):
    for path in PATHS:
        token = make_token(alice, "hosts")
        assert Api(token=token).get(f"/sessions/{hers.pk}/{path}").status_code == 403
    assert Api(token=make_token(alice, "sessions")).get(f"/sessions/{hers.pk}/replay").status_code == 200


def test_what_cannot_be_seen_says_why(alice, web1, hers):
    live = begin(alice, web1)
    answer = get(alice, live.pk, "replay")
    assert (answer.status_code, answer.json()["detail"][:27]) == (409, "it is still being recorded;")
    Recording.objects.filter(pk=hers.pk).update(state="pruned")
    answer = get(alice, hers.pk, "recording")
    assert answer.status_code == 404
    assert "is removed; its hash is in the audit log" in answer.json()["detail"]
    Recording.objects.filter(pk=hers.pk).update(state="failed", problem="the disk is full")
    path_of(hers.pk, hers.started_at).unlink()
    answer = get(alice, hers.pk, "replay")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is no file of this recording: the disk is full",
    )
    assert "recording.viewed" not in events()


def test_one_without_an_index_is_being_prepared(alice, web1, monkeypatch):
    asked = []
    monkeypatch.setattr("terminals.api.recordings.enqueue", lambda session_id, first: asked.append((session_id, first)))
    session = record(alice, web1, indexed=False)
    answer = get(alice, session.pk, "replay")
    assert answer.json()["state"] == "preparing"
    assert asked == [(session.pk, True)], "before those that nobody waits for"
    assert "recording.viewed" not in events()


def test_a_second_factor_is_asked_for_at_every_door(hers, alice, web1):
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    for path in PATHS:
        answer = get(alice, hers.pk, path)
        assert answer.status_code == 403
        assert answer.json()["type"] == "/problems/second-factor-required"


def page(person, session_id) -> str:
    client = Client()
    client.force_login(person)
    answer = client.get(f"/sessions/{session_id}/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_has_a_player_for_whom_may_see_it(hers, alice, auditor, admin):
    for person in (alice, auditor):
        assert 'id="player"' in page(person, hers.pk)
    shown = page(admin, hers.pk)
    assert 'id="player"' not in shown
    assert "player/main.js" not in shown
    assert "SHA-256" not in shown


def test_the_page_of_one_that_is_not_over_or_gone_has_none(alice, web1, hers):
    assert 'id="player"' not in page(alice, begin(alice, web1).pk)
    Recording.objects.filter(pk=hers.pk).update(state="pruned")
    shown = page(alice, hers.pk)
    assert 'id="player"' not in shown
    assert "kept for as long as was set" in shown


def test_the_page_names_all_that_its_scripts_import(hers, alice):
    """Else the browser would find one file after the other."""
    static = Path(__file__).resolve().parents[2] / "static"
    todo, imported = [static / "player/main.js", static / "portal.js"], set()
    while todo:
        file = todo.pop()
        for name in re.findall(r'^import .*? from "(\..*?)";', file.read_text(), re.MULTILINE):
            path = (file.parent / name).resolve()
            if path not in imported:
                imported.add(path)
                todo.append(path)
    preloaded = set(re.findall(r'rel="modulepreload" href="/static/(.*?)"', page(alice, hers.pk)))
    assert preloaded == {str(path.relative_to(static)) for path in imported}
