"""The index of a recording: key frames from which the rest can be played, and the text with its times."""

from __future__ import annotations

import io
import stat

import pytest

from terminals.models import Recording
from terminals.recording.store import files_of, frames, path_of
from terminals.replay import build as building
from terminals.replay.build import build
from terminals.replay.files import cast_of, facts_of, index_of
from terminals.replay.index import Unreadable, read_facts, read_text
from terminals.replay.play import find, segment
from terminals.replay.screen import Screen
from tests.people.helpers import make_host

from .helpers import HELLO, record

pytestmark = pytest.mark.django_db


def recording_of(session) -> Recording:
    return Recording.objects.select_related("session__person", "session__host").get(pk=session.pk)


def play(events, cols, rows, until, snapshot="") -> list[str]:
    screen = Screen(cols, rows)
    screen.feed(snapshot)
    for at, kind, text in events:
        if at <= until and kind == "o":
            screen.feed(text)
        elif at <= until and kind == "r":
            screen.resize(*map(int, text.split("x")))
    return screen.lines()


def long_events():
    """Ten minutes in which a program comes and goes, and the window changes."""
    events = []
    for n in range(600):
        at = float(n)
        if n % 100 == 50:
            events.append((at, "o", "\x1b[?1049h\x1b[2J\x1b[H\x1b[33mediting\x1b[0m"))
        if n % 100 == 80:
            events.append((at, "o", "\x1b[?1049l"))
        if n % 150 == 0:
            events.append((at, "r", f"{60 + n % 7}x{20 + n % 5}"))
        events.append((at, "o", f"\r\n\x1b[3{n % 8}mline {n}\x1b[0m " + "x" * (n % 50)))
    return events


def test_each_segment_shows_what_playing_from_the_beginning_shows(alice, monkeypatch):
    import json

    monkeypatch.setattr(building, "KEY_SIZE", 2000)
    events = long_events()
    session = record(alice, make_host("web1"), events, frame_size=1000)
    recording = recording_of(session)
    facts = facts_of(recording)
    assert len(facts.keys) > 10
    assert facts.keys[0].time == 0
    seen = 0
    for number in range(len(facts.keys)):
        part = json.loads(segment(recording, facts, number))
        seen += len(part["events"])
        for at, _, _ in part["events"][:: max(1, len(part["events"]) // 3)]:
            assert play(part["events"], part["cols"], part["rows"], at, part["snapshot"]) == play(events, 80, 24, at)
    assert seen == len(events)


def test_what_is_in_it(alice):
    events = [*HELLO, (60.0, "r", "100x30"), (61.0, "o", "bye\r\n"), (61.5, "m", "a gap")]
    facts = facts_of(recording_of(record(alice, make_host("web1"), events)))
    assert facts.duration_s == 61.5
    assert [tuple(mark) for mark in facts.marks] == [(3.0, "bob joined"), (61.5, "a gap")]
    assert [tuple(size) for size in facts.sizes] == [(60.0, 100, 30)]
    assert [tuple(span) for span in facts.idle] == [(3.0, 60.0)]
    assert (facts.cols, facts.rows, facts.problem) == (80, 24, "")


def test_text_is_found_where_it_was_shown_first(alice):
    events = [
        (1.0, "o", "$ "),
        (2.0, "o", "cat secret"),
        (2.1, "o", "\r\nthe needle\r\n"),
        (5.0, "o", "\x1b[2J\x1b[Hgone"),
        (90.0, "o", "\x1b[?1049h\x1b[H\x1b[2Jin vim: the Needle 2.1\x1b[?1049l"),
        (91.0, "o", "\rthe last words"),
    ]
    recording = recording_of(record(alice, make_host("web1"), events))
    facts = facts_of(recording)
    assert find(recording, facts, "needle") == [
        {"t": 2.1, "line": "the needle"},
        {"t": 90.0, "line": "in vim: the Needle 2.1"},
    ]
    assert find(recording, facts, "last words") == [{"t": 91.0, "line": "the last words"}]
    assert find(recording, facts, "2.1") == [{"t": 90.0, "line": "in vim: the Needle 2.1"}]  # times are no text
    assert find(recording, facts, "cat secret") == [{"t": 2.0, "line": "$ cat secret"}]
    assert find(recording, facts, ".*") == find(recording, facts, " ") == []


def test_it_is_private_and_beside_the_recording(alice):
    session = record(alice, make_host("web1"))
    path = index_of(recording_of(session))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path in files_of(path_of(session.pk, session.started_at))  # which pruning removes


def test_a_torn_recording_is_played_to_its_last_whole_line(alice):
    session = record(alice, make_host("web1"), indexed=False)
    cast = path_of(session.pk, session.started_at)
    cast.write_bytes(cast.read_bytes()[:-12])
    facts, _ = build(cast)
    assert facts.problem == ""
    assert [tuple(mark) for mark in facts.marks] in ([(3.0, "bob joined")], [])


@pytest.mark.parametrize("content", [b"", b"no recording", b"\x28\xb5\x2f\xfd" + b"\0" * 50])
def test_what_is_no_recording_says_so(alice, content):
    session = record(alice, make_host("web1"), indexed=False)
    cast = path_of(session.pk, session.started_at)
    cast.write_bytes(content)
    facts, lines = build(cast)
    assert facts.problem != ""
    assert lines == []
    assert facts_of(recording_of(session)).problem == facts.problem


def test_one_that_takes_too_long_is_given_up(alice, monkeypatch):
    monkeypatch.setattr(building, "PROCESSOR_S", -1000)
    facts = facts_of(recording_of(record(alice, make_host("web1"))))
    assert "very long" in facts.problem


def test_more_text_than_is_kept_is_said(alice, monkeypatch):
    from terminals.replay import shown

    monkeypatch.setattr(shown, "MAX_CHARACTERS", 1000)
    events = [(float(n), "o", f"line number {n}\r\n") for n in range(200)]
    recording = recording_of(record(alice, make_host("web1"), events))
    facts = facts_of(recording)
    assert 50 < facts.cut_s < 199
    assert find(recording, facts, "number 3")
    assert not find(recording, facts, "number 199")


def test_key_frames_of_large_screens_do_not_outgrow_the_recording(alice, monkeypatch):
    monkeypatch.setattr(building, "KEY_SIZE", 100)
    monkeypatch.setattr(building, "KEY_S", 0)
    full = "".join(f"\x1b[3{n % 8}m{n % 10}" for n in range(400 * 100))
    events = [(0.0, "o", full), *((float(n), "o", "\x1b[H" + "y" * 100) for n in range(1, 300))]
    session = record(alice, make_host("web1"), events, cols=400, rows=100, frame_size=50)
    recording = recording_of(session)
    with index_of(recording).open("rb") as file:
        sizes = [len(read_text(file, key.snapshot)) for key in read_facts(file).keys]
    assert sum(sizes) < 3 * sum(len(frame.text) for frame in frames(cast_of(recording)))
    assert len(sizes) < 5


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x5b\x2a\x4d\x18\x08\0\0\0" + b"\xff" * 8])
def test_an_index_that_is_none_is_made_anew(alice, content):
    with pytest.raises(Unreadable):
        read_facts(io.BytesIO(content))
    recording = recording_of(record(alice, make_host("web1")))
    index_of(recording).write_bytes(content)
    assert facts_of(recording) is None
