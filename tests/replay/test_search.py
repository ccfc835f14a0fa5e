"""Search over all recordings."""

from __future__ import annotations

import sqlite3
import stat
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from terminals.models import Recording
from terminals.recording.acts import prune
from terminals.recording.store import root
from terminals.replay import search as searching
from terminals.replay.files import index_of
from terminals.replay.search import NAME, forget, remove, search, store
from tests.people.helpers import make_host

from .helpers import record


def found(folder, query, among=None) -> list[tuple[str, float, str]]:
    return [(str(hit.session_id), hit.time_s, hit.line) for hit in search(folder, query, among, 50)]


def test_newest_first_with_their_times(tmp_path):
    one, two = uuid4(), uuid4()
    store(tmp_path, one, [(1.5, "$ make test"), (2.0, "all is well"), (3.0, "make: done")])
    store(tmp_path, two, [(7.0, "make tea")])
    assert found(tmp_path, "make") == [
        (str(two), 7.0, "make tea"),
        (str(one), 1.5, "$ make test"),
        (str(one), 3.0, "make: done"),
    ]
    assert found(tmp_path, "make test") == [(str(one), 1.5, "$ make test")]
    assert found(tmp_path, "WELL tes") == [(str(one), 1.5, "$ make test"), (str(one), 2.0, "all is well")]
    assert found(tmp_path, "make", [two]) == [(str(two), 7.0, "make tea")]
    assert found(tmp_path, "make", []) == []
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "'",
        "a OR b",
        "NOT",
        "NEAR(a b)",
        "text:x",
        "*",
        "^a",
        "a*b",
        "--",
        "(",
        '""',
        "",
        " ",
        "\0",
        "a AND",
        "{x}",
    ],
)
def test_a_query_is_words_and_nothing_else(tmp_path, query):
    session = uuid4()
    store(tmp_path, session, [(0.0, "alpha beta")])
    assert found(tmp_path, query) in ([], [(str(session), 0.0, "alpha beta")])


@settings(max_examples=100, deadline=None)
@given(query=st.text(max_size=300))
def test_any_query_is_answered(tmp_path_factory, query):
    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.exists():
        store(folder, uuid4(), [(0.0, "alpha beta"), (1.0, "漢字 ümlaut")])
    search(folder, query, None, 10)


def test_paths_and_addresses_are_phrases(tmp_path):
    session = uuid4()
    store(tmp_path, session, [(0.0, "cat /etc/passwd"), (1.0, "ping 192.0.2.7"), (2.0, "passwd of etc")])
    assert [line for _, _, line in found(tmp_path, "/etc/pass")] == ["cat /etc/passwd"]
    assert [line for _, _, line in found(tmp_path, "192.0.2.7")] == ["ping 192.0.2.7"]


def test_what_is_too_much_is_cut_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "MAX_CHARACTERS", 30)
    store(tmp_path, uuid4(), [(1.0, "the first line"), (2.0, "the second line"), (3.0, "the third line")])
    assert search(tmp_path, "third", None, 5) == []
    assert [hit.cut_s for hit in search(tmp_path, "first", None, 5)] == [2.0]


def test_forgotten_text_is_not_in_the_file(tmp_path):
    kept, gone = uuid4(), uuid4()
    store(tmp_path, kept, [(0.0, "something else")])
    store(tmp_path, gone, [(0.0, "plantedneedle in a line")])
    store(tmp_path, gone, [(0.0, "plantedneedle again")])
    assert len(found(tmp_path, "plantedneedle")) == 1
    forget(tmp_path, [gone])
    assert found(tmp_path, "plantedneedle") == []
    with sqlite3.connect(tmp_path / NAME) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    assert b"plantedneedle" not in (tmp_path / NAME).read_bytes()
    assert found(tmp_path, "something") == [(str(kept), 0.0, "something else")]


def test_ten_thousand_sessions(tmp_path):
    """No figure is asserted here: it would take minutes if each search read all text."""
    ids = [uuid4() for _ in range(10_000)]
    with searching._database(tmp_path) as database:
        database.executemany(
            "INSERT INTO shown (rowid, text, times) VALUES (?, ?, ?)",
            ((n, f"$ make part{n}\ncommon word {n % 7}", "1 2") for n in range(10_000)),
        )
        database.executemany("INSERT INTO sessions VALUES (?, ?, NULL)", ((str(one), n) for n, one in enumerate(ids)))
    assert found(tmp_path, "part4711") == [(str(ids[4711]), 1.0, "$ make part4711")]
    assert len(search(tmp_path, "common", None, 50)) == 50
    assert {hit.session_id for hit in search(tmp_path, "common word", ids[:3], 50)} == set(ids[:3])


@pytest.mark.django_db
def test_pruning_forgets_it(alice):
    session = record(alice, make_host("web1"), [(0.0, "o", "plantedprune\r\n")])
    assert [hit.session_id for hit in search(root(), "plantedprune", None, 5)] == [session.pk]
    assert prune(before=timezone.now() + timedelta(seconds=1)) >= 1
    assert search(root(), "plantedprune", None, 5) == []
    assert not index_of(Recording.objects.select_related("session").get(pk=session.pk)).exists()


@pytest.mark.django_db
def test_it_can_be_made_anew(alice, capsys):
    session = record(alice, make_host("web1"), [(0.0, "o", "plantedanew\r\n")], indexed=False)
    call_command("index_recordings")
    assert capsys.readouterr().out == "1 recording indexed\n"
    assert [hit.session_id for hit in search(root(), "plantedanew", None, 5)] == [session.pk]
    (root() / NAME).write_bytes(b"damaged" * 1000)
    with pytest.raises(sqlite3.Error):
        search(root(), "plantedanew", None, 5)
    call_command("index_recordings", "--rebuild")
    assert [hit.session_id for hit in search(root(), "plantedanew", None, 5)] == [session.pk]
    call_command("index_recordings")
    assert capsys.readouterr().out.endswith("0 recordings indexed\n")
    remove(root())
