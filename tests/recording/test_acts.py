"""`terminals.recording.acts`, `.sweep`, `.verify`: rows, events and files of recordings, and the commands."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from terminals.models import Recording, Session
from terminals.recording import acts
from terminals.recording.digest import Sealed
from terminals.recording.mend import survey
from terminals.recording.policy import Policy
from terminals.recording.store import beside, path_of, root
from terminals.recording.verify import verify_recordings
from terminals.second_factor import Proof
from terminals.sessions import end_leftovers, end_session, newest_change, open_session
from tests.core.rows import give, session_row
from tests.people.helpers import ADDRESS, Api, events
from tests.recording.stored import open_recording, sealed_recording, texts
from tunnels import audit
from tunnels.audit import OPERATOR, Actor, Event, record
from tunnels.models import AuditEvent

pytestmark = pytest.mark.django_db
SEALED = Sealed("a" * 64, "b" * 64, 100, 50, 2.5)


def last(event: str) -> AuditEvent:
    return AuditEvent.objects.filter(event=event).latest("sequence")


# Opened and ended


@pytest.mark.parametrize(
    ("policy", "has_terminal", "recorded"),
    [
        (Policy.REQUIRED, True, True),
        (Policy.BEST_EFFORT, True, True),
        (Policy.OFF, True, False),
        (Policy.REQUIRED, False, False),
    ],
)
def test_what_is_recorded(settings, alice, web1, policy, has_terminal, recorded):
    settings.BROKERD = replace(settings.BROKERD, recording=policy)
    give(alice, web1)
    row = open_session(
        person=alice,
        host_name="web1",
        login="root",
        node="node-1",
        address=ADDRESS,
        proof=Proof(False),
        is_online=lambda _: True,
        has_terminal=has_terminal,
    )
    assert Recording.objects.filter(session=row).exists() is recorded
    end_session(session_id=row.pk, reason="over", recording=SEALED if recorded else None)
    assert last("session.ended").detail.get("recording") == (SEALED.facts if recorded else None)
    shown = Api(alice).get(f"/sessions/{row.pk}").json()["recording"]
    assert shown == ({"state": "sealed", "sha256": "a" * 64} if recorded else None)


def test_the_event_of_the_end_has_the_hash(alice, web1):
    row, file = open_recording(alice, web1)
    assert Api(alice).get(f"/sessions/{row.pk}").json()["recording"] == {"state": "recording", "sha256": ""}
    sealed = file.close()
    end_session(session_id=row.pk, reason="the program ended", bytes_in=3, bytes_out=5, recording=sealed)
    assert events() == ["session.ended"]
    assert last("session.ended").detail["recording"] == {
        "state": "sealed",
        "sha256": sealed.sha256,
        "stored_sha256": sealed.stored_sha256,
        "size": sealed.size,
        "stored_size": path_of(row.pk, row.started_at).stat().st_size,
    }
    stored = Recording.objects.get(pk=row.pk)
    assert (stored.state, stored.sha256, stored.duration_s) == ("sealed", sealed.sha256, 1)
    assert stored.sealed_at is not None


@pytest.mark.parametrize("actor", [Actor("admin", "192.0.2.99"), OPERATOR])
def test_ended_by_a_person_it_waits_for_its_hash(alice, web1, actor):
    """The row is closed at once, which the node sees; the one event comes with the hash, and says who ended it."""
    row, file = open_recording(alice, web1)
    before = newest_change()
    assert end_session(session_id=row.pk, reason="enough", actor=actor) is True
    assert events() == [] and newest_change() != before, "other processes notice"
    row.refresh_from_db()
    assert row.ended_at is not None
    assert end_session(session_id=row.pk, reason="again", actor=Actor("bob")) is False
    assert end_session(session_id=row.pk, reason="ended", bytes_out=5, recording=file.close()) is False
    assert events() == ["session.ended"]
    event = last("session.ended")
    assert (event.person, event.address) == (actor.person, actor.address)
    assert event.detail["reason"] == "enough" and event.detail["bytes_out"] == 5
    assert event.detail["recording"]["sha256"]
    assert end_session(session_id=row.pk, reason="once more", actor=Actor("bob")) is False
    assert events() == ["session.ended"]


def test_in_process_the_node_is_told_at_once(alice, web1, django_capture_on_commit_callbacks):
    row, _ = open_recording(alice, web1)
    heard = []
    undo = audit.subscribe(lambda: heard.append(1))
    with django_capture_on_commit_callbacks(execute=True):
        end_session(session_id=row.pk, reason="enough", actor=Actor("admin"))
    undo()
    assert heard == [1]


def test_a_failure_is_on_record_once(alice, web1):
    row, file = open_recording(alice, web1)
    acts.note_failure(session_id=row.pk, problem="no space left on device")
    sealed = file.give_up("no space left on device")
    end_session(session_id=row.pk, reason="this terminal could not be recorded", recording=sealed)
    acts.note_failure(session_id=row.pk, problem="too late")
    assert events() == ["!recording.failed", "session.ended"]
    failed, ended = last("recording.failed"), last("session.ended")
    assert (failed.session, failed.host, failed.detail["reason"]) == (str(row.pk), "web1", "no space left on device")
    assert ended.detail["recording"]["state"] == "failed" and ended.detail["recording"]["sha256"]
    stored = Recording.objects.get(pk=row.pk)
    assert (stored.state, stored.problem) == ("failed", "no space left on device")


def test_a_failure_that_shows_only_at_the_end(alice, web1):
    row, _ = open_recording(alice, web1)
    end_session(session_id=row.pk, reason="x", recording=Sealed(problem="the disk is gone", has_failed=True))
    assert events() == ["!recording.failed", "session.ended"]


# What a lost broker left


def test_the_sweep_seals_what_a_lost_broker_left(alice, web1):
    left, file = open_recording(alice, web1, "before the end", node="node-0", bytes_out=14)
    file.abandon()
    ours, _ = open_recording(alice, web1, node="node-1")
    unrecorded = session_row(alice, web1, node="node-0")
    for _ in range(2):
        end_leftovers(node="node-1")
    assert events() == ["session.ended", "session.ended"]
    path = path_of(left.pk, left.started_at)
    assert texts(path) == "before the end" and "the broker was lost here" in texts(path, "m")
    stored = Recording.objects.get(pk=left.pk)
    assert stored.state == "sealed" and "the broker was lost" in stored.problem
    event = AuditEvent.objects.get(session=str(left.pk))
    assert event.detail["recording"]["sha256"] == stored.sha256
    assert "recording" not in AuditEvent.objects.get(session=str(unrecorded.pk)).detail
    assert Recording.objects.get(pk=ours.pk).state == "recording"
    report = verify_recordings()
    assert (report.findings, report.intact, report.open) == ([], 1, 1)


def test_the_sweep_finishes_what_a_person_had_ended(alice, web1):
    row, file = open_recording(alice, web1, node="node-0")
    file.abandon()
    end_session(session_id=row.pk, reason="ended by admin", actor=Actor("admin", ADDRESS))
    end_leftovers(node="node-1")
    event = last("session.ended")
    assert (event.person, event.address, event.detail["reason"]) == ("admin", ADDRESS, "ended by admin")
    assert event.detail["recording"]["sha256"] and events() == ["session.ended"]


def test_the_sweep_finds_no_file(alice, web1):
    row, file = open_recording(alice, web1, node="node-0")
    file.abandon()
    path_of(row.pk, row.started_at).unlink()
    end_leftovers(node="node-1")
    assert events() == ["!recording.failed", "session.ended"]
    assert Recording.objects.get(pk=row.pk).problem == "the broker was lost, and there is no file"


# Tampering


@pytest.fixture
def two(alice, web1):
    return sealed_recording(alice, web1, "one"), sealed_recording(alice, web1, "two, longer")


def verify() -> str:
    out = StringIO()
    call_command("verify_audit", recordings=True, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def anchor(folder) -> None:
    """Is the audit's own business: here it says nothing."""
    (folder / "audit.anchor").touch()


def changed(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rewritten(path):
    """With other words in it, and as valid as before."""
    text = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    forged = subprocess.run(["zstd", "-c"], input=text.replace(b"one", b"two"), capture_output=True, check=True).stdout
    path.write_bytes(forged)


TAMPERINGS = {
    "changed": (changed, "was changed"),
    "cut off": (lambda path: os.truncate(path, path.stat().st_size - 1), "is cut off"),
    "extended": (lambda path: path.write_bytes(path.read_bytes() + b"\0" * 7), "has 7 bytes more"),
    "removed": (lambda path: path.unlink(), "is missing"),
    "emptied": (lambda path: path.write_bytes(b""), "is cut off: 0 bytes"),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_done_to_a_file_is_found(two, how):
    (row, path), (other, _) = two
    assert "2 recordings hold" in verify()
    tamper, told = TAMPERINGS[how]
    tamper(path)
    with pytest.raises(CommandError) as error:
        verify()
    assert f"session {row.pk}: its recording {told}" in str(error.value) and str(other.pk) not in str(error.value)
    assert error.value.returncode == 1


def test_a_recording_with_other_words_is_found_though_it_can_be_played(two):
    (row, path), _ = two
    rewritten(path)
    assert texts(path) == "two"
    with pytest.raises(CommandError, match=str(row.pk)):
        verify()


def test_two_that_were_swapped_are_found(two):
    (row, path), (other, there) = two
    path.rename(path.with_suffix(".x"))
    there.rename(path)
    path.with_suffix(".x").rename(there)
    with pytest.raises(CommandError) as error:
        verify()
    assert f"session {row.pk}: its recording is that of session {other.pk}" in str(error.value)
    assert f"session {other.pk}: its recording is that of session {row.pk}" in str(error.value)


def test_the_audit_is_the_witness_and_not_the_row(two):
    """Whoever changes the file and the row to match has not changed the audit."""
    (row, path), _ = two
    rewritten(path)
    forged = survey(path).digest.seal(duration_s=1)
    Recording.objects.filter(pk=row.pk).update(sha256=forged.sha256, stored_sha256=forged.stored_sha256)
    with pytest.raises(CommandError) as error:
        verify()
    assert str(error.value).count(str(row.pk)) == 2 and "another hash of its recording" in str(error.value)


def test_a_recording_out_of_nowhere_is_found(two):
    (_, path), _ = two
    forged = path.with_name(f"{'0' * 8}-{'0' * 4}-{'0' * 4}-{'0' * 4}-{'0' * 12}.cast.zst")
    forged.write_bytes(path.read_bytes())
    with pytest.raises(CommandError, match="that the audit does not know"):
        verify()


def test_without_the_option_no_file_is_read(two):
    (_, path), _ = two
    path.unlink()
    call_command("verify_audit", stdout=StringIO())


# Pruning


def prune(days: int = 90) -> int:
    return acts.prune(before=timezone.now() - timedelta(days=days))


def test_pruned_the_hash_and_the_events_stay(two):
    (row, path), (_, there) = two
    index, aside = beside(path, ".index.zst"), beside(path, ".damaged")
    for one in (index, aside):
        one.write_bytes(b"derived")
    Recording.objects.filter(pk=row.pk).update(sealed_at=timezone.now() - timedelta(days=91))
    digest = Recording.objects.get(pk=row.pk).sha256
    assert prune() == 1
    assert [one.exists() for one in (path, index, aside, there)] == [False, False, False, True]
    stored = Recording.objects.get(pk=row.pk)
    assert (stored.state, stored.sha256) == ("pruned", digest) and stored.pruned_at is not None
    event = last("recording.pruned")
    assert (event.session, event.detail["sha256"], event.detail["owner"]) == (str(row.pk), digest, "alice")
    assert AuditEvent.objects.get(session=str(row.pk), event="session.ended").detail["recording"]["sha256"] == digest
    assert prune() == 0
    assert "1 recordings hold, 1 were pruned" in verify()


def test_a_live_recording_is_never_pruned(alice, web1):
    row, _ = open_recording(alice, web1)
    Session.objects.filter(pk=row.pk).update(started_at=timezone.now() - timedelta(days=1000))
    assert prune(0) == 0


def test_a_file_that_cannot_be_removed_is_not_called_pruned(two, monkeypatch):
    (row, path), _ = two
    Recording.objects.filter(pk=row.pk).update(sealed_at=timezone.now() - timedelta(days=91))
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError):
        prune()
    assert Recording.objects.get(pk=row.pk).state == "sealed" and "recording.pruned" not in events()


def test_removed_before_it_was_on_record_the_next_run_says_so(two):
    """The broker may stop in between."""
    (row, path), _ = two
    Recording.objects.filter(pk=row.pk).update(sealed_at=timezone.now() - timedelta(days=91))
    path.unlink()
    assert prune() == 1 and last("recording.pruned").session == str(row.pk)


def test_the_row_alone_does_not_make_a_missing_file_a_pruned_one(two):
    (row, path), _ = two
    Recording.objects.filter(pk=row.pk).update(state="pruned")
    path.unlink()
    with pytest.raises(CommandError, match="is missing"):
        verify()


@pytest.mark.parametrize(("retention_s", "gone", "told"), [(60, True, "1 recording removed"), (0, False, "for ever")])
def test_the_command_applies_the_retention(settings, two, retention_s, gone, told):
    settings.BROKERD = replace(settings.BROKERD, recording_retention_s=retention_s)
    (row, path), (_, there) = two
    Recording.objects.filter(pk=row.pk).update(sealed_at=timezone.now() - timedelta(seconds=61))
    out = StringIO()
    call_command("prune_recordings", stdout=out)
    assert told in out.getvalue() and path.exists() is not gone and there.exists()


def test_the_event_of_a_failure_before_there_was_a_file(alice, web1):
    """Nothing to compare, and nothing to complain of."""
    row = session_row(alice, web1)
    acts.begin(row)
    end_session(session_id=row.pk, reason="x", recording=Sealed(problem="permission denied", has_failed=True))
    assert "1 failed without a hash" in verify()
    assert not root().exists()


def test_an_event_that_somebody_added_changes_nothing(two):
    """A second event of the end does not replace the hash that the first one gave."""
    (row, path), _ = two
    path.write_bytes(b"forged")
    facts = {**SEALED.facts, "stored_sha256": hashlib.sha256(b"forged").hexdigest(), "stored_size": 6}
    with transaction.atomic():
        record(Event.SESSION_ENDED, session=str(row.pk), recording=facts)
    with pytest.raises(CommandError, match=str(row.pk)):
        verify()
